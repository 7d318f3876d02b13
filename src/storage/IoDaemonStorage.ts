/**
 * Torrents as files that the io-daemon keeps: for an engine that has no file system, as a page in a browser.
 *
 * A piece is one request, however many files it spans; the daemon compares it with its digest before it touches any of
 * them. A torrent's files are registered with the first request that needs them, and again when the daemon has forgotten
 * them, as one does that was started anew. What is transient is tried again for half a minute (`IoDaemonClient.ts`); a
 * write whose answer was lost is simply repeated. What the daemon refuses is told at once, a full disk as such.
 *
 * Files that nobody wants are set aside by the daemon, where `FilePlaces.ts` does, so that a download can go on with either
 * storage. Which ones is told again with each registration, and two that share a set share that as well: the last word
 * counts.
 *
 * A file that is deleted or cut off while a torrent is open is noticed by the daemon, as `FileSystemStorage.ts` tells,
 * for as long as the daemon lives.
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import type { HttpClient } from "effect/http/HttpClient"
import * as HttpClientRequest from "effect/http/HttpClientRequest"
import type * as HttpClientResponse from "effect/http/HttpClientResponse"
import * as Latch from "effect/Latch"
import * as Layer from "effect/Layer"
import * as Semaphore from "effect/Semaphore"
import * as Stream from "effect/Stream"
import * as Bytes from "../base/Bytes.ts"
import * as Monotonic from "../base/Monotonic.ts"
import type { PieceIndex } from "../base/PieceGeometry.ts"
import * as PieceGeometry from "../base/PieceGeometry.ts"
import type { IoDaemon } from "../io-daemon/IoDaemon.ts"
import { IoDaemonUnavailable } from "../io-daemon/IoDaemon.ts"
import type { IoDaemonError, IoDaemonRefused } from "../io-daemon/IoDaemonClient.ts"
import * as IoDaemonClient from "../io-daemon/IoDaemonClient.ts"
import * as IoDaemonProtocol from "../io-daemon/IoDaemonProtocol.ts"
import type { FileLayout } from "../metainfo/FileLayout.ts"
import { PieceHasher } from "../piece/PieceHasher.ts"
import * as AsideFolder from "./AsideFolder.ts"
import {
  DigestMismatch,
  DiskFull,
  NotStored,
  Storage,
  StorageError,
  type StorageReason,
  StorageRefused,
  StorageUnavailable,
  type StoredDigest,
  type TorrentStorage
} from "./Storage.ts"

/** Where the daemon keeps torrents. */
export interface IoDaemonStorageOptions {
  /** The name of one of the daemon's roots. */
  readonly root: string
  /** What users call that root: stands before the paths in errors. Default: its name. */
  readonly directory?: string | undefined
  /**
   * Requests in flight, over all torrents; default `defaultRequestsInFlight`. Fewer leave the daemon idle between two;
   * more only wait there, and a page has no more than six connections to one host.
   */
  readonly requestsInFlight?: number | undefined
}

/** 6: what browsers allow to one host over HTTP/1.1. The daemon's disk is busy with fewer. */
export const defaultRequestsInFlight = 6

/**
 * Rechecks that go on at once, over all torrents: each keeps a connection busy for long, and writes need the others.
 */
const rechecksInFlight = 2

/** Bytes that the daemon digests in one request: a second's work, after which another torrent has its turn. */
const maxDigestBytes = 1 << 30

/** Makes the storage. */
export const make = Effect.fnUntraced(function* (options: IoDaemonStorageOptions) {
  const client = yield* IoDaemonClient.make
  const hasher = yield* PieceHasher
  const permits = Semaphore.makeUnsafe(options.requestsInFlight ?? defaultRequestsInFlight)
  const rechecks = Semaphore.makeUnsafe(rechecksInFlight)

  return Storage.of({
    open: (layout) => openTorrent({ client, hasher, permits, rechecks, layout, ...options })
  })
})

/** Keeps torrents below a root of the daemon. */
export const layer = (
  options: IoDaemonStorageOptions
): Layer.Layer<Storage, never, IoDaemon | HttpClient | PieceHasher> => Layer.effect(Storage, make(options))

/** How long a set may take to be forgotten when its torrent is closed; the daemon does without. */
const forgetTimeout = "2 seconds"

const openTorrent = Effect.fnUntraced(function* (
  options: IoDaemonStorageOptions & {
    readonly client: IoDaemonClient.IoDaemonClient
    readonly hasher: PieceHasher["Service"]
    readonly permits: Semaphore.Semaphore
    readonly rechecks: Semaphore.Semaphore
    readonly layout: FileLayout
  }
) {
  const { client, hasher, layout, permits, rechecks } = options
  const { geometry } = layout
  const directory = options.directory ?? options.root
  const registration = (skipped: ReadonlyArray<number>) =>
    IoDaemonProtocol.registration(layout, options.root, { folder: AsideFolder.components, skipped })
  // Two that open the same files share a set, and one that was left behind by a crash is found again.
  const id = Bytes.toHex(yield* hasher.sha256(Bytes.fromText(registration([]))))
  const digestsAtOnce = Math.max(
    1,
    Math.min(IoDaemonProtocol.maxDigestRanges, Math.floor(maxDigestBytes / geometry.pieceLength))
  )
  const registering = Semaphore.makeUnsafe(1)
  let registered = 0
  /** The files that nobody wants, as it was said last; `undefined` until then. */
  let skipped: ReadonlyArray<number> | undefined

  const send = (request: HttpClientRequest.HttpClientRequest) => client.execute(request)

  const tellSkipped = (files: ReadonlyArray<number>) =>
    send(withJson(HttpClientRequest.post(IoDaemonProtocol.prepareRoute(id)), IoDaemonProtocol.prepareBody(files)))

  /** Registers the files, unless somebody has since `seen` was read. */
  const register = (seen: number) =>
    Effect.suspend(() => {
      if (registered !== seen) return Effect.void
      // With the skipped files at once, as a write that comes before they are told would make them in their places.
      const request = withJson(HttpClientRequest.put(IoDaemonProtocol.setRoute(id)), registration(skipped ?? []))
      // The same list under the same id, so the root has moved since somebody registered it and was gone: it is registered anew.
      const anew = Effect.andThen(send(HttpClientRequest.delete(IoDaemonProtocol.setRoute(id))), send(request))
      return send(request).pipe(
        Effect.catchIf(isConflict, () => anew),
        // Somebody else who shared the set may have set aside what is wanted here.
        Effect.andThen(
          skipped === undefined ? Effect.void : Effect.catchIf(tellSkipped(skipped), isOfFile, () => Effect.void)
        ),
        Effect.andThen(Effect.sync(() => void registered++))
      )
    }).pipe(registering.withPermit)

  /** One attempt at something that needs the set; registers it where the daemon does not know it. */
  const withSet = <A, R>(effect: Effect.Effect<A, IoDaemonError, R>): Effect.Effect<A, IoDaemonError, R> =>
    Effect.suspend(() => {
      const seen = registered
      if (seen === 0) return Effect.andThen(register(seen), effect)
      return Effect.catchIf(effect, isForgotten, () => Effect.andThen(register(seen), effect))
    }).pipe(
      // Forgotten once more: it is started anew again and again, and will stay some time.
      Effect.catchIf(isForgotten, () => Effect.fail(IoDaemonClient.lost()))
    )

  const failed = (operation: StorageError["operation"]) => (error: IoDaemonError) =>
    StorageError.of(operation, [reasonOf(error, directory)])

  /** Does something with the set, as often as it takes. */
  const run = <A>(operation: StorageError["operation"], effect: Effect.Effect<A, IoDaemonError>) =>
    withSet(effect).pipe(Effect.retry(IoDaemonClient.again), permits.withPermit, Effect.mapError(failed(operation)))

  const afterFirstWrite = firstAlone()
  const afterFirstRead = firstAlone()
  const writeRequest = HttpClientRequest.post(IoDaemonProtocol.writeRoute(id))
  const readRequest = HttpClientRequest.get(IoDaemonProtocol.readRoute(id))

  const writePiece: TorrentStorage["writePiece"] = Effect.fnUntraced(function* (piece, bytes, sha1) {
    const size = PieceGeometry.pieceSize(geometry, piece)
    if (bytes.length !== size)
      return yield* Effect.die(new RangeError(`piece ${piece} has ${size} bytes, not ${bytes.length}`))
    const request = writeRequest.pipe(
      HttpClientRequest.setHeaders({
        "content-range": IoDaemonProtocol.contentRange(PieceGeometry.pieceOffset(geometry, piece), size),
        "content-digest": IoDaemonProtocol.contentDigest(sha1 ?? (yield* hasher.sha1(bytes)))
      }),
      HttpClientRequest.bodyUint8Array(bytes)
    )
    yield* afterFirstWrite(run("write", send(request)))
  })

  const readBlock: TorrentStorage["readBlock"] = (piece, begin, length) =>
    Effect.suspend(() => {
      const size = PieceGeometry.pieceSize(geometry, piece)
      if (begin < 0 || length < 1 || begin + length > size) {
        return Effect.die(new RangeError(`piece ${piece} has ${size} bytes, not ${length} from ${begin}`))
      }
      const offset = PieceGeometry.pieceOffset(geometry, piece) + begin
      const request = HttpClientRequest.setHeader(readRequest, "range", IoDaemonProtocol.range(offset, length))
      const read = Effect.flatMap(send(request), (response) => bodyOf(response, length))
      return afterFirstRead(run("read", read))
    })

  /** The digests of `pieces`, from the one after the last that was told. */
  const digestsOf = (pieces: ReadonlyArray<PieceIndex>): Stream.Stream<StoredDigest, StorageError> => {
    let told = 0
    const attempt = Effect.gen(function* () {
      yield* rechecks.takeScoped(1)
      const left = pieces.slice(told)
      const ranges = left.map(
        (piece) => [PieceGeometry.pieceOffset(geometry, piece), PieceGeometry.pieceSize(geometry, piece)] as const
      )
      const request = withJson(
        HttpClientRequest.post(IoDaemonProtocol.digestsRoute(id)),
        IoDaemonProtocol.digestsBody(ranges)
      )
      const response = yield* withSet(client.executeScoped(request))
      return linesOf(response).pipe(
        Stream.mapEffect((line) =>
          Effect.mapError(Effect.fromResult(IoDaemonProtocol.decodeDigest(line)), IoDaemonClient.lost)
        ),
        Stream.zipWith(Stream.fromIterable(left), (sha1, piece): StoredDigest => ({ piece, sha1 })),
        Stream.tap(() => Effect.sync(() => void told++)),
        Stream.concat(Stream.suspend(() => (told < pieces.length ? Stream.fail(IoDaemonClient.lost()) : Stream.empty)))
      )
    }).pipe(Stream.unwrap)
    return attempt.pipe(Stream.retry(IoDaemonClient.again), Stream.mapError(failed("digest")))
  }

  yield* Effect.addFinalizer(() =>
    registered === 0
      ? Effect.void
      : send(HttpClientRequest.delete(IoDaemonProtocol.setRoute(id))).pipe(
          Effect.timeout(forgetTimeout),
          // What it has not forgotten takes it a few bytes, and is found again by the next who opens these files.
          Effect.ignore
        )
  )

  const torrent: TorrentStorage = {
    verifies: true,
    prepare: (wanted) =>
      Effect.suspend(() => {
        const isWanted = new Set(wanted)
        const others = [...layout.files.keys()].filter((file) => !isWanted.has(file) && !layout.files[file]!.padding)
        // Not while it is registered, or what was said before would be said after it.
        const tell = Effect.map(tellSkipped(others), () => {
          skipped = others
        })
        return run("prepare", registering.withPermit(tell))
      }),
    writePiece,
    readBlock,
    digests: (pieces) =>
      Stream.fromIterable(pieces).pipe(
        Stream.grouped(digestsAtOnce),
        Stream.flatMap((group) => digestsOf(group))
      ),
    flush: Effect.suspend(() =>
      registered === 0
        ? Effect.void
        : Effect.asVoid(run("flush", send(HttpClientRequest.post(IoDaemonProtocol.flushRoute(id)))))
    )
  }
  return torrent
})

/**
 * Lets the first of many go alone; the others wait for its end, whatever that is. A browser asks for permission to send to
 * a URL and remembers it only when it has the answer: of requests that start at once, each would ask.
 */
const firstAlone = () => {
  let first: Latch.Latch | undefined
  return <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
    Effect.suspend(() => {
      if (first !== undefined) return Effect.andThen(first.await, effect)
      first = Latch.makeUnsafe()
      return Effect.ensuring(effect, first.open)
    })
}

const withJson = (request: HttpClientRequest.HttpClientRequest, json: string) =>
  HttpClientRequest.bodyText(request, json, "application/json")

const isForgotten = (error: IoDaemonError): error is IoDaemonRefused =>
  error._tag === "IoDaemonRefused" && error.refusal.kind === "unknown_set"

const isConflict = (error: IoDaemonError): error is IoDaemonRefused =>
  error._tag === "IoDaemonRefused" && error.refusal.kind === "set_conflict"

/** Whether a single file is to blame, so that others can be used all the same. */
const isOfFile = (error: IoDaemonError): error is IoDaemonRefused =>
  error._tag === "IoDaemonRefused" && error.refusal.path !== undefined

/** The body of an answer that must be `length` bytes. */
const bodyOf = (response: HttpClientResponse.HttpClientResponse, length: number) =>
  response.arrayBuffer.pipe(
    Effect.timeout(IoDaemonClient.attemptTimeout),
    Effect.mapError(IoDaemonClient.lost),
    Effect.map((buffer) => new Uint8Array(buffer)),
    Effect.filterOrFail((bytes) => bytes.length === length, IoDaemonClient.lost)
  )

/** The lines of an answer, for as long as they come. */
const linesOf = (response: HttpClientResponse.HttpClientResponse): Stream.Stream<string, IoDaemonUnavailable> =>
  response.stream.pipe(
    Stream.mapError(IoDaemonClient.lost),
    Stream.timeoutOrElse({
      duration: IoDaemonClient.attemptTimeout,
      orElse: () => Stream.fail(new IoDaemonUnavailable({ why: "it did not go on in time" }))
    }),
    Stream.updateService(Clock.Clock, Monotonic.clock),
    Stream.decodeText,
    Stream.splitLines
  )

/** What an error of the daemon means to whoever stores pieces. */
const reasonOf = (error: IoDaemonError, directory: string): StorageReason => {
  if (error._tag === "IoDaemonUnavailable") return new StorageUnavailable({ path: directory, why: error.message })
  const { kind, message, path: file, why = message } = error.refusal
  // The root itself has no components.
  const path = file === undefined || file === "" ? directory : `${directory}/${file}`
  switch (kind) {
    case "disk_full":
      return new DiskFull({ path })
    case "digest_mismatch":
      return new DigestMismatch({ path })
    case "not_stored":
      return new NotStored({ path })
    case "busy":
    case "timeout":
    case "root_gone":
    case "unavailable":
    case "unknown":
      return new StorageUnavailable({ path, why })
    default:
      return new StorageRefused({ path, why })
  }
}
