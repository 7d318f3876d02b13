/**
 * The digests of stored pieces, as the io-daemon computes them: in requests of a bounded number of bytes, each
 * continued after the last digest that arrived.
 */
import * as Effect from "effect/Effect"
import type * as Semaphore from "effect/Semaphore"
import * as Stream from "effect/Stream"
import type { PieceIndex } from "../../../base/PieceGeometry.ts"
import * as PieceGeometry from "../../../base/PieceGeometry.ts"
import type { IoDaemonError } from "../../../io-daemon/IoDaemonClient.ts"
import * as IoDaemonClient from "../../../io-daemon/IoDaemonClient.ts"
import * as IoDaemonProtocol from "../../../io-daemon/IoDaemonProtocol.ts"
import type { StoredDigest } from "../../Storage.ts"
import * as IoDaemonAnswer from "./IoDaemonAnswer.ts"
import * as IoDaemonFileSet from "./IoDaemonFileSet.ts"

/** Bytes that the daemon digests in one request: a second's work, after which another torrent has its turn. */
const maxDigestBytes = 1 << 30

/** Makes what digests pieces of a set. */
export const make = (options: {
  readonly id: string
  readonly set: IoDaemonFileSet.IoDaemonFileSet
  readonly client: IoDaemonClient.IoDaemonClient
  readonly geometry: PieceGeometry.PieceGeometry
  /** For rechecks in flight, over all torrents. */
  readonly rechecks: Semaphore.Semaphore
}): ((pieces: Iterable<PieceIndex>) => Stream.Stream<StoredDigest, IoDaemonError>) => {
  const { client, geometry, id, rechecks, set } = options
  const digestsAtOnce = Math.max(
    1,
    Math.min(IoDaemonProtocol.maxDigestRanges, Math.floor(maxDigestBytes / geometry.pieceLength))
  )

  const digestsOf = (pieces: ReadonlyArray<PieceIndex>): Stream.Stream<StoredDigest, IoDaemonError> => {
    let received = 0
    const attempt = Effect.gen(function* () {
      yield* rechecks.takeScoped(1)
      const left = pieces.slice(received)
      const ranges = left.map(
        (piece) => [PieceGeometry.pieceOffset(geometry, piece), PieceGeometry.pieceSize(geometry, piece)] as const
      )
      const request = IoDaemonFileSet.post(IoDaemonProtocol.digestsRoute(id), IoDaemonProtocol.digestsBody(ranges))
      const response = yield* set.attempt(client.executeScoped(request))
      return IoDaemonAnswer.digests(response).pipe(
        Stream.zipWith(Stream.fromIterable(left), (sha1, piece): StoredDigest => ({ piece, sha1 })),
        Stream.tap(() => Effect.sync(() => void received++)),
        Stream.concat(
          Stream.suspend(() => (received < pieces.length ? Stream.fail(IoDaemonClient.lost()) : Stream.empty))
        )
      )
    }).pipe(Stream.unwrap)
    return Stream.retry(attempt, IoDaemonClient.again)
  }

  return (pieces) =>
    Stream.fromIterable(pieces).pipe(
      Stream.grouped(digestsAtOnce),
      Stream.flatMap((group) => digestsOf(group))
    )
}
