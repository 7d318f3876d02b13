/**
 * The methods of the Transmission RPC that read and change torrents. `TorrentAdding.ts` has the one that adds them.
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Monotonic from "../../base/Monotonic.ts"
import type { SavedOptions } from "../../session/SavedTorrent.ts"
import type { SessionTorrent } from "../../session/Session.ts"
import * as SessionInput from "../../session/SessionInput.ts"
import type { SessionStatus } from "../../session/SessionStatus.ts"
import * as FileChoice from "./FileChoice.ts"
import * as QueueMoves from "./QueueMoves.ts"
import * as RpcArguments from "./RpcArguments.ts"
import * as RpcRefused from "./RpcRefused.ts"
import * as RpcRun from "./RpcRun.ts"
import * as TorrentFields from "./TorrentFields.ts"
import * as TorrentIds from "./TorrentIds.ts"
import * as TorrentView from "./TorrentView.ts"

type Run = RpcRun.RpcRun

/** Torrents that are read at once. */
const readAtOnce = 16

const read = {
  get: RpcArguments.reader(RpcArguments.TorrentGet),
  set: RpcArguments.reader(RpcArguments.TorrentSet),
  remove: RpcArguments.reader(RpcArguments.TorrentRemove),
  location: RpcArguments.reader(RpcArguments.TorrentSetLocation),
  rename: RpcArguments.reader(RpcArguments.TorrentRenamePath),
  selection: RpcArguments.reader(RpcArguments.Selection)
}

/** `torrent-get`. */
export const get = Effect.fnUntraced(function* (self: Run, given: unknown) {
  const { fields, format = "objects", ids: asked } = yield* read.get(given)
  const all = yield* RpcRun.torrents(self)
  const elapsed = yield* Monotonic.now
  const now = yield* Clock.currentTimeMillis
  const chosen = new Set(TorrentIds.select(self.ids, all, asked, elapsed))
  const known = TorrentFields.known(fields)
  const needs = TorrentFields.needsOf(known)
  const bases = all.flatMap((status, place): ReadonlyArray<TorrentView.Basis> => {
    const numbered = TorrentIds.of(self.ids, status)
    if (numbered === undefined || !chosen.has(status)) return []
    const { id, transferredAt } = numbered
    const transferredMillisAgo = transferredAt === undefined ? undefined : elapsed - transferredAt
    return [{ id, status, place, directory: self.facts.directory, now, transferredMillisAgo }]
  })
  const views = yield* Effect.forEach(bases, (basis) => TorrentView.read(self.session, basis, needs), {
    concurrency: readAtOnce
  })
  const found = views.flatMap(Option.toArray)
  const torrents =
    format === "table"
      ? [[...known.keys()], ...found.map((view) => TorrentFields.toRow(known, view))]
      : found.map((view) => TorrentFields.toObject(known, view))
  if (asked !== TorrentIds.recentlyActive) return { torrents }
  return { torrents, removed: self.ids.removed.map(({ id }) => id) }
})

/** A method that does the same with each torrent. */
const each =
  (act: Parameters<typeof RpcRun.forEach>[2]) =>
  (self: Run, given: unknown): RpcRun.Answer =>
    Effect.flatMap(read.selection(given), ({ ids }) => Effect.as(RpcRun.forEach(self, ids, act), RpcRun.nothing))

/** `torrent-start`. */
export const start = each((torrent) => torrent.resume())

/** `torrent-start-now`: it also becomes the first in the queue. */
export const startNow = each((torrent) => Effect.andThen(torrent.move("first"), torrent.resume()))

/** `torrent-stop`. */
export const stop = each((torrent) => torrent.pause)

/** `torrent-verify`. Answers when it has begun. */
export const verify = (self: Run, given: unknown): RpcRun.Answer =>
  each((torrent, { progress }) =>
    progress === undefined
      ? Effect.fail(RpcRefused.because("the metadata of the torrent is not known yet, so there is nothing to verify"))
      : Effect.forkIn(
          Effect.catch(torrent.recheck, (error) => Effect.logWarning("a torrent could not be verified", error)),
          self.scope
        )
  )(self, given)

/** Says that some files are still there: somebody else's, or nothing proves them to be the torrent's own. */
const whyKept = ([path, ...others]: ReadonlyArray<string>): string =>
  `the torrent was removed, but ${path}${others.length === 0 ? "" : ` and ${others.length} other files`} may be somebody else's and was not deleted`

/** `torrent-remove`. */
export const remove = Effect.fnUntraced(function* (self: Run, given: unknown) {
  const { "delete-local-data": data = false, ids } = yield* read.remove(given)
  yield* RpcRun.forEach(self, ids, (torrent) =>
    Effect.flatMap(torrent.remove({ data }), ({ keptPaths }) =>
      keptPaths.length === 0 ? Effect.void : Effect.fail(RpcRefused.because(whyKept(keptPaths)))
    )
  )
  return RpcRun.nothing
})

/** `torrent-set-location`. */
export const setLocation = Effect.fnUntraced(function* (_: Run, given: unknown) {
  yield* read.location(given)
  return yield* cannotMove
})

const cannotMove = Effect.fail(RpcRefused.because("the folder of a torrent cannot be changed after it was added"))

/** `torrent-rename-path`: a file, or each file in a folder, gets another path. */
export const renamePath = Effect.fnUntraced(function* (self: Run, given: unknown) {
  const { ids, name, path } = yield* read.rename(given)
  const [status, ...others] = yield* RpcRun.select(self, ids)
  if (status === undefined || others.length > 0) return yield* RpcRefused.because("exactly one torrent must be named")
  const old = path.split("/")
  const renamed = [...old.slice(0, -1), name]
  const renaming = RpcRun.withTorrent(self, status, (torrent) =>
    Effect.gen(function* () {
      const files = (yield* torrent.files).filter((file) => file.path === path || file.path.startsWith(`${path}/`))
      if (files.length === 0) return yield* RpcRefused.because(`the torrent has no file or folder ${path}`)
      for (const file of files) {
        yield* torrent.renameFile(file.index, [...renamed, ...file.path.split("/").slice(old.length)])
      }
    })
  )
  yield* Effect.mapError(renaming, ({ message }) => RpcRefused.because(message))
  return { path, name, id: TorrentIds.of(self.ids, status)?.id }
})

/** `queue-move-top` and its likes. */
export const moveInQueue =
  (direction: QueueMoves.Direction) =>
  (self: Run, given: unknown): RpcRun.Answer =>
    Effect.gen(function* () {
      const { ids } = yield* read.selection(given)
      const queue = yield* RpcRun.torrents(self)
      const chosen = new Set(TorrentIds.select(self.ids, queue, ids, yield* Monotonic.now))
      for (const move of QueueMoves.moves(queue, chosen, direction)) yield* moveTo(self, move)
      return RpcRun.nothing
    })

const moveTo = (self: Run, { place, torrent }: QueueMoves.Move<SessionStatus>) =>
  RpcRun.withTorrent(self, torrent, ({ move }) =>
    move(typeof place === "string" ? place : { before: place.before.infoHash })
  ).pipe(
    Effect.catchTag("piecewise/NotInSession", () => Effect.void),
    Effect.mapError(({ message }) => RpcRefused.because(message))
  )

/** `torrent-set`. Of each torrent, what cannot be done is refused before anything is changed. */
export const set = Effect.fnUntraced(function* (self: Run, given: unknown) {
  const asked = yield* read.set(given)
  const refusal = refusalOf(asked)
  if (refusal !== undefined) return yield* RpcRefused.because(refusal)
  yield* RpcRun.forEach(self, asked.ids, (torrent, status) =>
    Effect.gen(function* () {
      const options = optionsOf(status.options, asked)
      if (options instanceof RpcRefused.RpcRefused) return yield* options
      yield* SessionInput.options(options)
      if (asked.labels !== undefined) yield* SessionInput.labels(asked.labels)
      if (FileChoice.isAsked(asked)) yield* setFiles(torrent, asked)
      if (asked.labels !== undefined) yield* torrent.setLabels(asked.labels)
      if (Object.keys(options).length > 0) yield* torrent.setOptions(options)
    })
  )
  if (asked.queuePosition !== undefined) {
    const queue = yield* RpcRun.torrents(self)
    const chosen = TorrentIds.select(self.ids, queue, asked.ids, yield* Monotonic.now)
    const place = asked.queuePosition
    for (const [index, torrent] of chosen.entries()) {
      yield* moveTo(self, QueueMoves.toPlace(yield* RpcRun.torrents(self), torrent, place + index))
    }
  }
  return RpcRun.nothing
})

/** Why something cannot be set, whatever the torrent; `undefined` if all of it can. */
export const refusalOf = (asked: Partial<RpcArguments.TorrentSet>): string | undefined => {
  if ((asked.bandwidthPriority ?? 0) !== 0) return "torrents have no bandwidth priority here"
  if ((asked.group ?? "") !== "") return "there are no bandwidth groups here"
  if (asked.honorsSessionLimits === false) return "a torrent cannot be exempted from the limits of the session here"
  if (asked.location !== undefined) return "the folder of a torrent cannot be changed after it was added"
  if (asked.seedIdleMode === 1) return "seeding cannot end because a torrent is idle here"
  const trackers = [asked.trackerAdd, asked.trackerList, asked.trackerRemove, asked.trackerReplace]
  return trackers.some((value) => value !== undefined) ? "the trackers of a torrent cannot be changed here" : undefined
}

const setFiles = Effect.fnUntraced(function* (torrent: SessionTorrent, asked: FileChoice.Asked) {
  const files = yield* torrent.files
  if (files.length === 0) return yield* RpcRefused.because("the files of the torrent are not known yet")
  const priorities = FileChoice.apply(files, asked)
  if (priorities instanceof RpcRefused.RpcRefused) return yield* priorities
  yield* torrent.setFiles(priorities)
})

/** A limit that is asked for, in bytes a second; `undefined` for none. */
const limitOf = (
  now: SavedOptions["limits"],
  direction: "download" | "upload",
  asked: RpcArguments.TorrentSet
): { readonly limit: NonNullable<SavedOptions["limits"]>["downloadBytesPerSecond"] } | RpcRefused.RpcRefused => {
  const current = now?.[`${direction}BytesPerSecond`]
  const kilobytes = asked[`${direction}Limit`]
  const isLimited = asked[`${direction}Limited`] ?? current !== undefined
  if (!isLimited) {
    if (kilobytes === undefined || asked[`${direction}Limited`] === false) return { limit: undefined }
    return RpcRefused.because(`${direction}Limit has no effect without ${direction}Limited`)
  }
  if (kilobytes !== undefined) return { limit: kilobytes * TorrentFields.kilobyte }
  return current === undefined ? RpcRefused.because(`${direction}Limited needs ${direction}Limit`) : { limit: current }
}

/** The options of a torrent that change. */
const optionsOf = (
  now: SavedOptions,
  asked: RpcArguments.TorrentSet
): Partial<Omit<SavedOptions, "folder">> | RpcRefused.RpcRefused => {
  const download = limitOf(now.limits, "download", asked)
  const upload = limitOf(now.limits, "upload", asked)
  if (download instanceof RpcRefused.RpcRefused) return download
  if (upload instanceof RpcRefused.RpcRefused) return upload
  const limits = { downloadBytesPerSecond: download.limit, uploadBytesPerSecond: upload.limit }
  const isOther =
    limits.downloadBytesPerSecond !== now.limits?.downloadBytesPerSecond ||
    limits.uploadBytesPerSecond !== now.limits?.uploadBytesPerSecond
  const goal = goalOf(now.goal, asked)
  if (goal instanceof RpcRefused.RpcRefused) return goal
  const { "peer-limit": maxConnections, sequentialDownload } = asked
  const order = sequentialDownload === undefined ? now.order : sequentialDownload ? "sequential" : "rarest"
  return {
    ...(isOther && { limits }),
    ...goal,
    ...(maxConnections !== undefined && maxConnections !== now.maxConnections && { maxConnections }),
    ...((order ?? "rarest") !== (now.order ?? "rarest") && { order })
  }
}

/** The seeding goal that is asked for: a ratio, that of its labels (mode 0), or none (mode 2). A time goal stays. */
const goalOf = (
  now: SavedOptions["goal"],
  { seedRatioLimit, seedRatioMode }: RpcArguments.TorrentSet
): Pick<SavedOptions, "goal"> | RpcRefused.RpcRefused => {
  if (seedRatioLimit === undefined && seedRatioMode === undefined) return {}
  const mode = seedRatioMode ?? (now?.ratio === undefined ? undefined : 1)
  if (mode === 0) return { goal: undefined }
  if (mode === 2) return { goal: { time: now?.time } }
  if (mode === undefined) return RpcRefused.because("seedRatioLimit has no effect unless seedRatioMode is 1")
  const ratio = seedRatioLimit ?? now?.ratio
  return ratio === undefined ? RpcRefused.because("seedRatioMode 1 needs seedRatioLimit") : { goal: { ...now, ratio } }
}
