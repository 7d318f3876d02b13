/**
 * Torrents as files that the io-daemon keeps: for an engine that has no file system, as a page in a browser.
 *
 * A piece is one request, however many files it spans; the daemon compares it with its digest before it touches any of
 * them. What is asked of many files is one request too, for some thousand at a time. What is transient is tried again for
 * half a minute (`IoDaemonClient.ts`); a request whose answer was lost is simply repeated. What the daemon refuses is told
 * at once, a full disk as such.
 *
 * Each opening has a set of its own in the daemon, registered with the first request that needs it. A daemon that was
 * started anew has forgotten it: then it is registered again, with what was reserved and claimed. A file that was claimed is
 * known by its identity, and is at least as long as what was written; so a restart neither makes nor cuts one, and a file
 * that somebody took away meanwhile is noticed. What the daemon before had not flushed is covered by the next flush.
 *
 * A page that vanishes leaves its set behind. The next opening of the same torrent by another program takes its files over;
 * those of other torrents can do so when nothing was heard of the set for five minutes, so one that has files reserved says
 * each minute that it is there. Whoever was there after all finds its files taken, and its writes fail with `WriterConflict`.
 *
 * Files that nobody wants are set aside by the daemon, where `FilePlaces.ts` does, and named by it as `FileNames.ts` does, so
 * that a download can go on with either storage.
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
import * as Bytes from "../../../base/Bytes.ts"
import * as InfoHash from "../../../base/InfoHash.ts"
import * as Monotonic from "../../../base/Monotonic.ts"
import type { PieceIndex } from "../../../base/PieceGeometry.ts"
import * as PieceGeometry from "../../../base/PieceGeometry.ts"
import { PieceHasher } from "../../../hash/PieceHasher.ts"
import type { IoDaemon } from "../../../io-daemon/IoDaemon.ts"
import { IoDaemonUnavailable } from "../../../io-daemon/IoDaemon.ts"
import type { IoDaemonError, IoDaemonRefused } from "../../../io-daemon/IoDaemonClient.ts"
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
  type StoredDigest,
  type TorrentStorage
} from "../../Storage.ts"
import * as IoDaemonReasons from "./IoDaemonReasons.ts"

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
  // Another one after a reload of the page, so that what it left behind is told from what it has.
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

/** How long a set may take to be forgotten when its torrent is closed; the daemon does without. */
const forgetTimeout = "2 seconds"

/** How often a set that has files reserved says that it is there: the daemon gives them away after five minutes. */
const signOfLife = "1 minute"

/** A file that may be written, as it is known again after a restart of the daemon. */
interface Claimed {
  readonly identity: string
  /** It is at least so long. */
  length: number
}

const openTorrent = Effect.fnUntraced(function* (
  options: IoDaemonStorageOptions &
    OpenOptions & {
      readonly client: IoDaemonClient.IoDaemonClient
      readonly hasher: PieceHasher["Service"]
      readonly permits: Semaphore.Semaphore
      readonly rechecks: Semaphore.Semaphore
      readonly owner: string
      /** Tells openings of one storage apart. */
      readonly number: number
    }
) {
  const { client, hasher, infoHash, layout, number, owner, permits, rechecks } = options
  const { geometry } = layout
  const directory = options.directory ?? options.root
  /** Where files were moved to. */
  const paths = new Map<number, ReadonlyArray<string>>()
  const pathOf = (file: number): string => (paths.get(file) ?? layout.files[file]!.path).join("/")
  const registration = (skipped: ReadonlyArray<number>) => {
    const files = layout.files.map((file, index) => {
      const path = paths.get(index)
      return path === undefined ? file : { ...file, path, portable: undefined, original: undefined }
    })
    return IoDaemonProtocol.registration(
      { geometry, files },
      options.root,
      { folder: AsideFolder.components, skipped },
      { torrent: InfoHash.toHex(infoHash), owner }
    )
  }
  const id = Bytes.toHex(yield* hasher.sha256(Bytes.fromText(`${number} ${registration([])}`)))
  const digestsAtOnce = Math.max(
    1,
    Math.min(IoDaemonProtocol.maxDigestRanges, Math.floor(maxDigestBytes / geometry.pieceLength))
  )
  const scope = yield* Effect.scope
  const registering = Semaphore.makeUnsafe(1)
  let registered = 0
  /** The files that nobody wants, as it was said last; `undefined` until then. */
  let skipped: ReadonlyArray<number> | undefined
  const reserved = new Set<number>()
  const claims = new Map<number, Claimed>()
  /** Why files are claimed no more that were. */
  const ended = new Map<number, IoDaemonRefused>()
  /** Who took the files over, until they are reserved again. */
  let takenOver: IoDaemonRefused | undefined
  let isWatched = false
  let isUsed = false

  const send = (request: HttpClientRequest.HttpClientRequest) => client.execute(request)

  const post = (route: string, json: string) => withJson(HttpClientRequest.post(route), json)

  const tellSkipped = (files: ReadonlyArray<number>) =>
    send(post(IoDaemonProtocol.prepareRoute(id), IoDaemonProtocol.prepareBody(files)))

  /** Asks about many files at once, and gives what is told of each, in their order. */
  const ask = (request: HttpClientRequest.HttpClientRequest, count: number) =>
    client.executeScoped(request).pipe(
      Effect.flatMap((response) =>
        linesOf(response).pipe(
          Stream.filter((line) => line !== ""),
          Stream.mapEffect((line) =>
            Effect.mapError(Effect.fromResult(IoDaemonProtocol.decodeFile(line)), IoDaemonClient.lost)
          ),
          Stream.mapEffect((told) => {
            const refused = "refusal" in told ? IoDaemonReasons.refusedBy(told.refusal) : undefined
            return refused !== undefined && IoDaemonReasons.isForgotten(refused)
              ? Effect.fail(refused)
              : Effect.succeed(told)
          }),
          Stream.runCollect
        )
      ),
      Effect.filterOrFail((told) => told.length === count, IoDaemonClient.lost),
      Effect.scoped
    )

  /** Reserves and claims once more what was before the daemon forgot it. What is not as it was is claimed no more. */
  const takeAgain = Effect.gen(function* () {
    if (reserved.size === 0) return
    const route = IoDaemonProtocol.reserveRoute(id)
    const taken = yield* send(post(route, IoDaemonProtocol.reserveBody([...reserved], true))).pipe(
      Effect.as(undefined),
      Effect.catchIf(IoDaemonReasons.isTakenOver, (refused) => Effect.succeed(refused))
    )
    if (taken !== undefined) {
      takenOver = taken
      reserved.clear()
      claims.clear()
      ended.clear()
      return
    }
    for (const part of partsOf([...claims])) {
      const asked = part.map(([file, { identity, length }]) => ({ file, as: "again" as const, identity, length }))
      const told = yield* ask(post(IoDaemonProtocol.claimRoute(id), IoDaemonProtocol.claimsBody(asked)), part.length)
      for (const [index, one] of told.entries()) {
        if (!("refusal" in one)) continue
        const refused = IoDaemonReasons.refusedBy(one.refusal)
        // What may pass is tried again, with all the rest.
        if (IoDaemonReasons.isUncertain(refused)) return yield* IoDaemonClient.lost()
        claims.delete(part[index]![0])
        ended.set(part[index]![0], refused)
      }
    }
  })

  /** Registers the files, unless somebody has since `seen` was read. */
  const register = (seen: number) =>
    Effect.suspend(() => {
      if (registered !== seen) return Effect.void
      // With the skipped files at once, as a write that comes before they are told would make them in their places.
      const request = withJson(HttpClientRequest.put(IoDaemonProtocol.setRoute(id)), registration(skipped ?? []))
      // The same list under the same id, so the root has moved since its answer was lost: it is registered anew.
      const anew = Effect.andThen(send(HttpClientRequest.delete(IoDaemonProtocol.setRoute(id))), send(request))
      return send(request).pipe(
        Effect.catchIf(IoDaemonReasons.isConflict, () => anew),
        Effect.andThen(
          skipped === undefined
            ? Effect.void
            : Effect.catchIf(tellSkipped(skipped), IoDaemonReasons.isOfFile, () => Effect.void)
        ),
        Effect.andThen(takeAgain),
        Effect.andThen(Effect.sync(() => void registered++))
      )
    }).pipe(registering.withPermit)

  /** One attempt at something that needs the set; registers it where the daemon does not know it. */
  const withSet = <A, R>(effect: Effect.Effect<A, IoDaemonError, R>): Effect.Effect<A, IoDaemonError, R> =>
    Effect.suspend(() => {
      const seen = registered
      isUsed = true
      if (seen === 0) return Effect.andThen(register(seen), effect)
      return Effect.catchIf(effect, IoDaemonReasons.isForgotten, () => Effect.andThen(register(seen), effect))
    }).pipe(
      // Forgotten once more: it is started anew again and again, and will stay some time.
      Effect.catchIf(IoDaemonReasons.isForgotten, () => Effect.fail(IoDaemonClient.lost()))
    )

  const failed = (operation: StorageError["operation"]) => (error: IoDaemonError) =>
    StorageError.of(operation, [IoDaemonReasons.reasonOf(error, directory)])

  /** Does something with the set, as often as it takes. */
  const run = <A>(operation: StorageError["operation"], effect: Effect.Effect<A, IoDaemonError>) =>
    withSet(effect).pipe(Effect.retry(IoDaemonClient.again), permits.withPermit, Effect.mapError(failed(operation)))

  /** What is told of many files, in their order. */
  const askAll = <A>(
    operation: StorageError["operation"],
    items: ReadonlyArray<A>,
    request: (part: ReadonlyArray<A>) => HttpClientRequest.HttpClientRequest
  ) =>
    Effect.map(
      Effect.forEach(partsOf(items), (part) => run(operation, ask(request(part), part.length))),
      (parts) => parts.flat()
    )

  const dieUnreserved = (files: Iterable<number>): Effect.Effect<void> | undefined => {
    for (const file of files) {
      if (!reserved.has(file)) return Effect.die(new Error(`${pathOf(file)} is not reserved`))
    }
    return undefined
  }

  /** What keeps a reserved file from what is asked, if it was taken over since. */
  const unlessTakenOver = <A>(operation: StorageError["operation"], effect: Effect.Effect<A, StorageError>) =>
    Effect.suspend(() => (takenOver === undefined ? effect : Effect.fail(failed(operation)(takenOver))))

  const look: TorrentStorage["look"] = (files) =>
    Effect.flatMap(
      askAll("look", files, (part) => post(IoDaemonProtocol.lookRoute(id), IoDaemonProtocol.filesBody(part))),
      (told) => {
        const reasons = told.flatMap((one) =>
          "refusal" in one ? [IoDaemonReasons.reasonOf(IoDaemonReasons.refusedBy(one.refusal), directory)] : []
        )
        const [first, ...others] = reasons
        if (first !== undefined) return Effect.fail(StorageError.of("look", [first, ...others]))
        return Effect.succeed(
          told.map((one, index) => ("facts" in one ? factsOf(files[index]!, one.facts) : undefined))
        )
      }
    )

  /** Says now and then that it is there, while it has files reserved and nothing else is asked. */
  const watch = Effect.suspend(() => {
    const wasUsed = isUsed
    isUsed = false
    if (wasUsed || reserved.size === 0) return Effect.void
    const sign = ask(post(IoDaemonProtocol.lookRoute(id), IoDaemonProtocol.filesBody([])), 0)
    return Effect.ensuring(
      Effect.ignore(withSet(sign)),
      Effect.sync(() => {
        isUsed = false
      })
    )
  }).pipe(Effect.delay(signOfLife), Effect.forever)

  const reserve: TorrentStorage["reserve"] = Effect.fnUntraced(function* (files) {
    if (files.length === 0) return
    yield* run("reserve", send(post(IoDaemonProtocol.reserveRoute(id), IoDaemonProtocol.reserveBody(files, false))))
    takenOver = undefined
    for (const file of files) reserved.add(file)
    if (isWatched) return
    isWatched = true
    yield* Effect.forkIn(watch, scope)
  })

  const release: TorrentStorage["release"] = (files) =>
    Effect.suspend(() => {
      const held = files.filter((file) => reserved.has(file))
      for (const file of held) {
        reserved.delete(file)
        claims.delete(file)
        ended.delete(file)
      }
      if (held.length === 0) return Effect.void
      // What the daemon has not heard of ends with the set.
      return Effect.ignore(
        run("reserve", send(post(IoDaemonProtocol.releaseRoute(id), IoDaemonProtocol.filesBody(held))))
      )
    })

  /** Claims files, some thousand at most, and gives what is told of each. */
  const claimPart = (part: ReadonlyArray<FileClaim>) => {
    let attempts = 0
    const attempt = Effect.suspend(() => {
      attempts++
      return ask(post(IoDaemonProtocol.claimRoute(id), IoDaemonProtocol.claimsBody(part)), part.length)
    })
    // An empty file that was not there before may be one that a daemon made and could not tell of any more.
    const findMade = (one: IoDaemonProtocol.ToldFile, claim: FileClaim) => {
      const mayBeMade = attempts > 1 && claim.as === "new" && "refusal" in one && one.refusal.kind === "file_exists"
      if (!mayBeMade) return Effect.succeed(one)
      return Effect.flatMap(look([claim.file]), ([facts]) => {
        if (facts?.kind !== "file" || facts.length > 0) return Effect.succeed(one)
        const found = [{ file: claim.file, as: "found" as const, facts }]
        const asked = ask(post(IoDaemonProtocol.claimRoute(id), IoDaemonProtocol.claimsBody(found)), 1)
        return Effect.map(run("claim", asked), ([told]) => told!)
      })
    }
    return Effect.flatMap(run("claim", attempt), (told) =>
      Effect.forEach(told, (one, index) => findMade(one, part[index]!))
    )
  }

  const claim: TorrentStorage["claim"] = Effect.fnUntraced(function* (asked) {
    const files = asked.map(({ file }) => file)
    yield* dieUnreserved(takenOver === undefined ? files : []) ?? Effect.void
    const told = (yield* unlessTakenOver("claim", Effect.forEach(partsOf(asked), claimPart))).flat()
    const reasons: Array<StorageReason> = []
    const facts: Array<FileFacts> = []
    for (const [index, one] of told.entries()) {
      const file = files[index]!
      if ("facts" in one && one.facts !== undefined) {
        claims.set(file, { identity: one.facts.identity, length: one.facts.length })
        ended.delete(file)
        facts.push({ file, ...one.facts })
      } else {
        const refused = IoDaemonReasons.refusedBy(
          "refusal" in one ? one.refusal : IoDaemonReasons.deleted(pathOf(file))
        )
        if (claims.delete(file)) ended.set(file, IoDaemonReasons.changedBy(refused, pathOf(file)))
        reasons.push(IoDaemonReasons.reasonOf(refused, directory))
      }
    }
    const [first, ...others] = reasons
    if (first !== undefined) return yield* StorageError.of("claim", [first, ...others])
    return facts
  })

  const afterFirstWrite = firstAlone()
  const afterFirstRead = firstAlone()
  const writeRequest = HttpClientRequest.post(IoDaemonProtocol.writeRoute(id))
  const readRequest = HttpClientRequest.get(IoDaemonProtocol.readRoute(id))

  const realSpans = (begin: number, length: number) =>
    FileLayout.spans(layout, begin, length).filter(({ file }) => !layout.files[file]!.padding)

  const writePiece: TorrentStorage["writePiece"] = Effect.fnUntraced(function* (piece, bytes, sha1) {
    const size = PieceGeometry.pieceSize(geometry, piece)
    if (bytes.length !== size)
      return yield* Effect.die(new RangeError(`piece ${piece} has ${size} bytes, not ${bytes.length}`))
    const begin = PieceGeometry.pieceOffset(geometry, piece)
    const spans = realSpans(begin, size)
    const unclaimed = spans.find(({ file }) => !claims.has(file) && !ended.has(file))
    if (unclaimed !== undefined && takenOver === undefined)
      return yield* Effect.die(new Error(`${pathOf(unclaimed.file)} is not claimed`))
    const request = writeRequest.pipe(
      HttpClientRequest.setHeaders({
        "content-range": IoDaemonProtocol.contentRange(begin, size),
        "content-digest": IoDaemonProtocol.contentDigest(sha1 ?? (yield* hasher.sha1(bytes)))
      }),
      HttpClientRequest.bodyUint8Array(bytes)
    )
    // Asked before each attempt, as what happened to a file may turn out when the set is registered again.
    const attempt = Effect.suspend(() => {
      const refused = takenOver ?? spans.map(({ file }) => ended.get(file)).find((one) => one !== undefined)
      return refused === undefined ? send(request) : Effect.fail(refused)
    })
    yield* afterFirstWrite(run("write", attempt))
    for (const { file, fileOffset, length } of spans) {
      const claimed = claims.get(file)
      if (claimed !== undefined) claimed.length = Math.max(claimed.length, fileOffset + length)
    }
  })

  const readBlock: TorrentStorage["readBlock"] = Effect.fnUntraced(function* (piece, begin, length) {
    const size = PieceGeometry.pieceSize(geometry, piece)
    if (begin < 0 || length < 1 || begin + length > size) {
      return yield* Effect.die(new RangeError(`piece ${piece} has ${size} bytes, not ${length} from ${begin}`))
    }
    const offset = PieceGeometry.pieceOffset(geometry, piece) + begin
    const request = HttpClientRequest.setHeader(readRequest, "range", IoDaemonProtocol.range(offset, length))
    const read = Effect.flatMap(send(request), (response) =>
      Effect.all({ bytes: bodyOf(response, length), files: filesOf(response) })
    )
    const { bytes, files } = yield* afterFirstRead(run("read", read))
    if (files !== undefined) return { bytes, files }
    // Too many to be told with the answer.
    const looked = yield* Effect.mapError(
      look(realSpans(offset, length).map(({ file }) => file)),
      ({ reason, others = [] }) => StorageError.of("read", [reason, ...others])
    )
    return { bytes, files: looked.filter((facts) => facts !== undefined) }
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

  const flush: TorrentStorage["flush"] = (files) =>
    Effect.map(
      askAll("flush", files, (part) => post(IoDaemonProtocol.flushRoute(id), IoDaemonProtocol.filesBody(part))),
      (told) =>
        told.map((one, index): FlushedFile => {
          const file = files[index]!
          const lost = takenOver ?? ended.get(file)
          if (lost !== undefined) return { file, reason: IoDaemonReasons.reasonOf(lost, directory) }
          if ("refusal" in one)
            return { file, reason: IoDaemonReasons.reasonOf(IoDaemonReasons.refusedBy(one.refusal), directory) }
          const facts = factsOf(file, one.facts)
          return facts === undefined
            ? { file, reason: new NotStored({ path: `${directory}/${pathOf(file)}` }) }
            : { file, facts }
        })
    )

  const rename: TorrentStorage["rename"] = Effect.fnUntraced(function* (file, path) {
    yield* dieUnreserved(takenOver === undefined ? [file] : []) ?? Effect.void
    if (path.join("/") === pathOf(file)) return
    const body = IoDaemonProtocol.renameBody(file, path, claims.get(file)?.identity)
    yield* unlessTakenOver("rename", run("rename", send(post(IoDaemonProtocol.renameRoute(id), body))))
    paths.set(file, path)
  })

  const remove: TorrentStorage["remove"] = Effect.fnUntraced(function* (files) {
    yield* dieUnreserved(takenOver === undefined ? files : []) ?? Effect.void
    if (files.length === 0) return
    const request = post(IoDaemonProtocol.removeRoute(id), IoDaemonProtocol.filesBody(files))
    yield* unlessTakenOver("remove", run("remove", send(request)))
    for (const file of files)
      if (claims.delete(file)) ended.set(file, IoDaemonReasons.refusedBy(IoDaemonReasons.deleted(pathOf(file))))
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
    flush,
    rename,
    remove
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

const partsOf = <A>(items: ReadonlyArray<A>): ReadonlyArray<ReadonlyArray<A>> =>
  Array.from({ length: Math.ceil(items.length / IoDaemonProtocol.maxToldFiles) }, (_, index) =>
    items.slice(index * IoDaemonProtocol.maxToldFiles, (index + 1) * IoDaemonProtocol.maxToldFiles)
  )

const factsOf = (file: number, facts: IoDaemonProtocol.Facts | undefined): FileFacts | undefined =>
  facts && { file, ...facts }

/** What an answer tells of the files that were read; `undefined` where it tells nothing. */
const filesOf = (response: HttpClientResponse.HttpClientResponse) => {
  const told = response.headers[IoDaemonProtocol.filesHeader]
  return told === undefined
    ? Effect.undefined
    : Effect.mapError(Effect.fromResult(IoDaemonProtocol.decodeFiles(told)), IoDaemonClient.lost)
}

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
