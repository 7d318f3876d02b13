/**
 * Torrents as files that the io-daemon keeps: for an engine that has no file system, such as one in a page of a
 * browser.
 *
 * A piece is one request, however many files it spans; the daemon compares it with its digest before it touches any of
 * them. A question about many files is one request too, for some thousand at a time. Transient failures are retried for
 * half a minute (`IoDaemonClient.ts`); a request whose answer was lost is repeated. What the daemon refuses, such as a
 * full disk, is reported at once.
 *
 * Each opening has a set of its own in the daemon (`IoDaemonFileSet.ts`). What the daemon had not flushed before a
 * restart is covered by the next flush.
 *
 * A page that vanishes leaves its set behind. The next opening of the same torrent by another program takes its files
 * over. Another torrent can do so after five minutes without a request for the set, so a set with reserved files shows
 * each minute that it is in use. If the first owner is there after all, its writes fail with `WriterConflict`.
 *
 * The daemon sets unwanted files aside as `FilePlaces.ts` does, and names files as `FileNames.ts` does, so that a
 * download can continue with either storage.
 */
import * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import type { HttpClient } from "effect/http/HttpClient"
import * as HttpClientRequest from "effect/http/HttpClientRequest"
import * as Layer from "effect/Layer"
import * as Semaphore from "effect/Semaphore"
import * as Stream from "effect/Stream"
import * as Bytes from "../../../base/Bytes.ts"
import * as Environment from "../../../base/Environment.ts"
import * as InfoHash from "../../../base/InfoHash.ts"
import * as PieceGeometry from "../../../base/PieceGeometry.ts"
import { PieceHasher } from "../../../hash/PieceHasher.ts"
import type { IoDaemon } from "../../../io-daemon/IoDaemon.ts"
import type { IoDaemonError } from "../../../io-daemon/IoDaemonClient.ts"
import * as IoDaemonClient from "../../../io-daemon/IoDaemonClient.ts"
import * as IoDaemonProtocol from "../../../io-daemon/IoDaemonProtocol.ts"
import * as FileLayout from "../../../metainfo/FileLayout.ts"
import * as AsideFolder from "../../AsideFolder.ts"
import {
  type FileClaim,
  type FileFacts,
  type FlushedFile,
  NotStored,
  type OpenOptions,
  Storage,
  StorageError,
  type StorageReason,
  type TorrentStorage
} from "../../Storage.ts"
import * as FirstAlone from "./FirstAlone.ts"
import * as IoDaemonAnswer from "./IoDaemonAnswer.ts"
import * as IoDaemonDigests from "./IoDaemonDigests.ts"
import * as IoDaemonFileSet from "./IoDaemonFileSet.ts"
import * as IoDaemonHoldings from "./IoDaemonHoldings.ts"
import * as IoDaemonReasons from "./IoDaemonReasons.ts"

/** Where the daemon keeps torrents. */
export interface IoDaemonStorageOptions {
  /** The name of one of the daemon's roots. */
  readonly root: string
  /** How users name that root: begins the paths in errors. Default: the root's name. */
  readonly directory?: string | undefined
  /**
   * Requests in flight, over all torrents; default `defaultRequestsInFlight`. Fewer leave the daemon idle between two;
   * more only wait there, and a page has at most six connections to one host.
   */
  readonly requestsInFlight?: number | undefined
}

/** 6: what browsers allow to one host over HTTP/1.1. The daemon's disk is busy with fewer. */
export const defaultRequestsInFlight = 6

/**
 * Rechecks in flight, over all torrents: each keeps a connection busy for long, and writes need the others.
 */
const rechecksInFlight = 2

/** Makes the storage. */
export const make = Effect.fnUntraced(function* (options: IoDaemonStorageOptions) {
  const client = yield* IoDaemonClient.make
  const hasher = yield* PieceHasher
  const permits = Semaphore.makeUnsafe(options.requestsInFlight ?? defaultRequestsInFlight)
  const rechecks = Semaphore.makeUnsafe(rechecksInFlight)
  // Differs after a reload of the page, so that the daemon can tell the new program from the old one.
  const owner = Bytes.toHex(crypto.getRandomValues(new Uint8Array(16)))
  let openings = 0

  return Storage.of({
    open: (opening) =>
      openTorrent({ client, hasher, permits, rechecks, owner, number: openings++, ...opening, ...options })
  })
})

/** Keeps torrents below a root of the daemon. */
export const layer = (
  options: IoDaemonStorageOptions
): Layer.Layer<Storage, never, IoDaemon | HttpClient | PieceHasher> => Layer.effect(Storage, make(options))

/**
 * Reads `PIECEWISE_IO_DAEMON_ROOT`, which must be set, and `PIECEWISE_IO_DAEMON_REQUESTS` (docs/configuration.md).
 */
export const fromEnvironment = (): Config.Config<IoDaemonStorageOptions> =>
  Config.all({
    root: Environment.text("PIECEWISE_IO_DAEMON_ROOT"),
    requestsInFlight: Environment.optional(Environment.integer("PIECEWISE_IO_DAEMON_REQUESTS", 1, 1_000))
  })

/** Keeps torrents as `config` says when the layer is built. Fails with `ConfigError` if a value is bad or missing. */
export const layerConfig = (
  config: Config.Wrap<IoDaemonStorageOptions> = fromEnvironment()
): Layer.Layer<Storage, Config.ConfigError, IoDaemon | HttpClient | PieceHasher> =>
  Layer.unwrap(Effect.map(Config.unwrap<IoDaemonStorageOptions>(config), layer))

const openTorrent = Effect.fnUntraced(function* (
  options: IoDaemonStorageOptions &
    OpenOptions & {
      readonly client: IoDaemonClient.IoDaemonClient
      readonly hasher: PieceHasher["Service"]
      readonly permits: Semaphore.Semaphore
      readonly rechecks: Semaphore.Semaphore
      readonly owner: string
      /** Distinguishes openings of one storage. */
      readonly number: number
    }
) {
  const { client, hasher, infoHash, layout, number, owner, permits, rechecks } = options
  const { geometry } = layout
  const directory = options.directory ?? options.root
  /** Where files were moved to. */
  const paths = new Map<number, ReadonlyArray<string>>()
  const pathOf = (file: number): string => (paths.get(file) ?? FileLayout.pathOf(layout, file)).join("/")
  const registration = (skipped: ReadonlyArray<number>) =>
    IoDaemonProtocol.registration(
      FileLayout.withPaths(layout, paths),
      options.root,
      { folder: AsideFolder.components, skipped },
      { torrent: InfoHash.toHex(infoHash), owner }
    )
  const id = Bytes.toHex(yield* hasher.sha256(Bytes.fromText(`${number} ${registration([])}`)))
  const holdings = IoDaemonHoldings.make()
  const set = yield* IoDaemonFileSet.make({ id, registration, client, holdings, permits })
  const digests = IoDaemonDigests.make({ id, set, client, geometry, rechecks })
  const scope = yield* Effect.scope
  let isKeptAlive = false

  const failed = (operation: StorageError["operation"]) => (error: IoDaemonError) =>
    StorageError.of(operation, [IoDaemonReasons.reasonOf(error, directory)])

  const run = <A>(operation: StorageError["operation"], effect: Effect.Effect<A, IoDaemonError>) =>
    Effect.mapError(set.run(effect), failed(operation))

  const { ask } = set
  const { post } = IoDaemonFileSet

  /** Asks about any number of files, and returns what is said of each, in their order. */
  const askAll = <A>(
    operation: StorageError["operation"],
    items: ReadonlyArray<A>,
    request: (part: ReadonlyArray<A>) => HttpClientRequest.HttpClientRequest
  ) =>
    Effect.map(
      Effect.forEach(IoDaemonFileSet.partsOf(items), (part) => run(operation, ask(request(part), part.length))),
      (parts) => parts.flat()
    )

  const dieUnreserved = (files: Iterable<number>): Effect.Effect<void> | undefined => {
    for (const file of files) {
      if (!holdings.reserved.has(file)) return Effect.die(new Error(`${pathOf(file)} is not reserved`))
    }
    return undefined
  }

  /** Fails without asking the daemon if the files were taken over. */
  const unlessTakenOver = <A>(operation: StorageError["operation"], effect: Effect.Effect<A, StorageError>) =>
    Effect.suspend(() =>
      holdings.takenOver === undefined ? effect : Effect.fail(failed(operation)(holdings.takenOver))
    )

  const look: TorrentStorage["look"] = (files) =>
    Effect.flatMap(
      askAll("look", files, (part) => post(IoDaemonProtocol.lookRoute(id), IoDaemonProtocol.filesBody(part))),
      (outcomes) => {
        const reasons = outcomes.flatMap((outcome) =>
          "refusal" in outcome ? [IoDaemonReasons.reasonOf(IoDaemonReasons.refusedBy(outcome.refusal), directory)] : []
        )
        const [first, ...others] = reasons
        if (first !== undefined) return Effect.fail(StorageError.of("look", [first, ...others]))
        return Effect.succeed(
          outcomes.map((outcome, index) => ("facts" in outcome ? factsOf(files[index]!, outcome.facts) : undefined))
        )
      }
    )

  const reserve: TorrentStorage["reserve"] = Effect.fnUntraced(function* (files) {
    if (files.length === 0) return
    yield* run(
      "reserve",
      client.execute(post(IoDaemonProtocol.reserveRoute(id), IoDaemonProtocol.reserveBody(files, false)))
    )
    IoDaemonHoldings.reserve(holdings, files)
    if (isKeptAlive) return
    isKeptAlive = true
    yield* Effect.forkIn(set.keepAlive, scope)
  })

  const release: TorrentStorage["release"] = (files) =>
    Effect.suspend(() => {
      const held = IoDaemonHoldings.release(holdings, files)
      if (held.length === 0) return Effect.void
      // The daemon releases what it did not hear of when it forgets the set.
      return Effect.ignore(
        run("reserve", client.execute(post(IoDaemonProtocol.releaseRoute(id), IoDaemonProtocol.filesBody(held))))
      )
    })

  /** Claims some thousand files at most, and returns what is said of each. */
  const claimPart = (part: ReadonlyArray<FileClaim>) => {
    let attempts = 0
    const attempt = Effect.suspend(() => {
      attempts++
      return ask(post(IoDaemonProtocol.claimRoute(id), IoDaemonProtocol.claimsBody(part)), part.length)
    })
    // A new empty file may be one that the daemon made before its answer was lost.
    const findMade = (outcome: IoDaemonProtocol.FileOutcome, claim: FileClaim) => {
      const mayBeMade =
        attempts > 1 && claim.as === "new" && "refusal" in outcome && outcome.refusal.kind === "file_exists"
      if (!mayBeMade) return Effect.succeed(outcome)
      return Effect.flatMap(look([claim.file]), ([facts]) => {
        if (facts?.kind !== "file" || facts.length > 0) return Effect.succeed(outcome)
        const found = [{ file: claim.file, as: "found" as const, facts }]
        const asked = ask(post(IoDaemonProtocol.claimRoute(id), IoDaemonProtocol.claimsBody(found)), 1)
        return Effect.map(run("claim", asked), ([outcome]) => outcome!)
      })
    }
    return Effect.flatMap(run("claim", attempt), (outcomes) =>
      Effect.forEach(outcomes, (outcome, index) => findMade(outcome, part[index]!))
    )
  }

  const claim: TorrentStorage["claim"] = Effect.fnUntraced(function* (asked) {
    const files = asked.map(({ file }) => file)
    yield* dieUnreserved(holdings.takenOver === undefined ? files : []) ?? Effect.void
    const outcomes = (yield* unlessTakenOver("claim", Effect.forEach(IoDaemonFileSet.partsOf(asked), claimPart))).flat()
    const reasons: Array<StorageReason> = []
    const facts: Array<FileFacts> = []
    for (const [index, outcome] of outcomes.entries()) {
      const file = files[index]!
      if ("facts" in outcome && outcome.facts !== undefined) {
        IoDaemonHoldings.claim(holdings, file, { identity: outcome.facts.identity, length: outcome.facts.length })
        facts.push({ file, ...outcome.facts })
      } else {
        const refused = IoDaemonReasons.refusedBy(
          "refusal" in outcome ? outcome.refusal : IoDaemonReasons.deleted(pathOf(file))
        )
        IoDaemonHoldings.endClaim(holdings, file, IoDaemonReasons.changedBy(refused, pathOf(file)))
        reasons.push(IoDaemonReasons.reasonOf(refused, directory))
      }
    }
    const [first, ...others] = reasons
    if (first !== undefined) return yield* StorageError.of("claim", [first, ...others])
    return facts
  })

  const afterFirstWrite = FirstAlone.make()
  const afterFirstRead = FirstAlone.make()
  const writeRequest = HttpClientRequest.post(IoDaemonProtocol.writeRoute(id))
  const readRequest = HttpClientRequest.get(IoDaemonProtocol.readRoute(id))

  const writePiece: TorrentStorage["writePiece"] = Effect.fnUntraced(function* (piece, bytes, sha1) {
    const size = PieceGeometry.pieceSize(geometry, piece)
    if (bytes.length !== size)
      return yield* Effect.die(new RangeError(`piece ${piece} has ${size} bytes, not ${bytes.length}`))
    const begin = PieceGeometry.pieceOffset(geometry, piece)
    const spans = FileLayout.realSpans(layout, begin, size)
    const unclaimed = spans.find(({ file }) => !holdings.claims.has(file) && !holdings.ended.has(file))
    if (unclaimed !== undefined && holdings.takenOver === undefined)
      return yield* Effect.die(new Error(`${pathOf(unclaimed.file)} is not claimed`))
    const request = writeRequest.pipe(
      HttpClientRequest.setHeaders({
        "content-range": IoDaemonProtocol.contentRange(begin, size),
        "content-digest": IoDaemonProtocol.contentDigest(sha1 ?? (yield* hasher.sha1(bytes)))
      }),
      HttpClientRequest.bodyUint8Array(bytes)
    )
    // Looked up before each attempt, because a new registration may find that a file has changed.
    const attempt = Effect.suspend(() => {
      const refused =
        holdings.takenOver ?? spans.map(({ file }) => holdings.ended.get(file)).find((one) => one !== undefined)
      return refused === undefined ? client.execute(request) : Effect.fail(refused)
    })
    yield* afterFirstWrite(run("write", attempt))
    for (const { file, fileOffset, length } of spans) {
      IoDaemonHoldings.noteWritten(holdings, file, fileOffset + length)
    }
  })

  const readBlock: TorrentStorage["readBlock"] = Effect.fnUntraced(function* (piece, begin, length) {
    const size = PieceGeometry.pieceSize(geometry, piece)
    if (begin < 0 || length < 1 || begin + length > size) {
      return yield* Effect.die(new RangeError(`piece ${piece} has ${size} bytes, not ${length} from ${begin}`))
    }
    const offset = PieceGeometry.pieceOffset(geometry, piece) + begin
    const request = HttpClientRequest.setHeader(readRequest, "range", IoDaemonProtocol.range(offset, length))
    const read = Effect.flatMap(client.execute(request), (response) =>
      Effect.all({ bytes: IoDaemonAnswer.bytes(response, length), files: IoDaemonAnswer.readFiles(response) })
    )
    const { bytes, files } = yield* afterFirstRead(run("read", read))
    if (files !== undefined) return { bytes, files }
    // Too many files to be described in the answer.
    const looked = yield* Effect.mapError(
      look(FileLayout.realSpans(layout, offset, length).map(({ file }) => file)),
      ({ reason, others = [] }) => StorageError.of("read", [reason, ...others])
    )
    return { bytes, files: looked.filter((facts) => facts !== undefined) }
  })

  const flush: TorrentStorage["flush"] = (files) =>
    Effect.map(
      askAll("flush", files, (part) => post(IoDaemonProtocol.flushRoute(id), IoDaemonProtocol.filesBody(part))),
      (outcomes) =>
        outcomes.map((outcome, index): FlushedFile => {
          const file = files[index]!
          const lost = IoDaemonHoldings.lossOf(holdings, file)
          if (lost !== undefined) return { file, reason: IoDaemonReasons.reasonOf(lost, directory) }
          if ("refusal" in outcome)
            return { file, reason: IoDaemonReasons.reasonOf(IoDaemonReasons.refusedBy(outcome.refusal), directory) }
          const facts = factsOf(file, outcome.facts)
          return facts === undefined
            ? { file, reason: new NotStored({ path: `${directory}/${pathOf(file)}` }) }
            : { file, facts }
        })
    )

  const rename: TorrentStorage["rename"] = Effect.fnUntraced(function* (file, path) {
    yield* dieUnreserved(holdings.takenOver === undefined ? [file] : []) ?? Effect.void
    if (path.join("/") === pathOf(file)) return
    const body = IoDaemonProtocol.renameBody(file, path, holdings.claims.get(file)?.identity)
    yield* unlessTakenOver("rename", run("rename", client.execute(post(IoDaemonProtocol.renameRoute(id), body))))
    paths.set(file, path)
  })

  const remove: TorrentStorage["remove"] = Effect.fnUntraced(function* (files) {
    yield* dieUnreserved(holdings.takenOver === undefined ? files : []) ?? Effect.void
    if (files.length === 0) return
    const request = post(IoDaemonProtocol.removeRoute(id), IoDaemonProtocol.filesBody(files))
    yield* unlessTakenOver("remove", run("remove", client.execute(request)))
    for (const file of files)
      IoDaemonHoldings.endClaim(holdings, file, IoDaemonReasons.refusedBy(IoDaemonReasons.deleted(pathOf(file))))
  })

  const torrent: TorrentStorage = {
    verifies: true,
    look,
    reserve,
    release,
    claim,
    prepare: (wanted) =>
      Effect.suspend(() => {
        const isWanted = new Set(wanted)
        const others = FileLayout.realFiles(layout).filter((file) => !isWanted.has(file))
        return Effect.mapError(set.skip(others), failed("prepare"))
      }),
    writePiece,
    readBlock,
    digests: (pieces) => Stream.mapError(digests(pieces), failed("digest")),
    flush,
    rename,
    remove
  }
  return torrent
})

const factsOf = (file: number, facts: IoDaemonProtocol.Facts | undefined): FileFacts | undefined =>
  facts && { file, ...facts }
