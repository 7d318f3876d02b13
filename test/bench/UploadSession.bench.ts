/**
 * An uploaded block without socket and disk: from its request through the queue and the read cache into a batch, with
 * spans that are read and spans that are cached.
 */
import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"
import * as Assembly from "../../src/assembly/Assembly.ts"
import * as Bitfield from "../../src/base/Bitfield.ts"
import type { PieceIndex } from "../../src/base/PieceGeometry.ts"
import * as PieceGeometry from "../../src/base/PieceGeometry.ts"
import * as Prng from "../../src/base/Prng.ts"
import type { Connection } from "../../src/network/Transport.ts"
import * as PeerRequests from "../../src/peer/PeerRequests.ts"
import * as Upload from "../../src/peer/Upload.ts"
import * as UploadQueue from "../../src/peer/UploadQueue.ts"
import * as UploadSession from "../../src/peer/UploadSession.ts"
import * as ReadCache from "../../src/storage/ReadCache.ts"
import { type Operation, scoped } from "./Operation.ts"
import { join } from "./peers.ts"

const { blockLength } = PieceGeometry
const pieceLength = 1_048_576
const inPiece = pieceLength / blockLength

/** How many requests a turn has, all of which are queued at its beginning. */
const depth = 256

const session = (name: string, pieceCount: number): Operation =>
  scoped(
    `UploadSession: a block, ${name}`,
    depth,
    Effect.gen(function* () {
      const geometry = PieceGeometry.make({ pieceLength, totalLength: pieceCount * pieceLength })
      const assembly = yield* Assembly.make({ geometry, stored: Bitfield.full(pieceCount), random: Prng.make(1) })
      const upload = yield* Upload.make({
        geometry,
        storage: {
          readBlock: (_piece, _begin, length, into) => Effect.succeed({ bytes: into!.subarray(0, length), files: [] })
        },
        stored: assembly.table.stored,
        cache: ReadCache.make(),
        onFailure: () => {}
      })
      const requested = Latch.makeUnsafe(false)
      const protocol = join(assembly, upload)
      PeerRequests.unchoke(protocol)

      const done = Latch.makeUnsafe(false)
      let left = 0
      const write = (bytes: Uint8Array): boolean => {
        left -= Math.floor(bytes.length / blockLength)
        if (left <= 0) done.openUnsafe()
        return false
      }
      const connection: Connection = {
        remote: { host: "127.0.0.1", port: 1 },
        receiveUnsafe: () => {},
        resumeUnsafe: () => {},
        writeUnsafe: Object.assign(write, { isWrittenUnsafe: () => true }),
        drained: Effect.yieldNow,
        closed: Effect.never
      }
      yield* Effect.forkScoped(UploadSession.run(connection, protocol, requested))
      let next = 0
      return Effect.suspend(() => {
        left = depth
        done.closeUnsafe()
        for (let block = 0; block < depth; block++) {
          const piece = Math.floor(next / inPiece) as PieceIndex
          UploadQueue.request(protocol.uploads, piece, (next % inPiece) * blockLength, blockLength)
          next = (next + 1) % (pieceCount * inPiece)
        }
        requested.openUnsafe()
        return done.await
      })
    }),
    4
  )

export const operations: ReadonlyArray<Operation> = [session("its span read", 64), session("its span cached", 8)]
