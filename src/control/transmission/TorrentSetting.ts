/**
 * The methods of the Transmission RPC that set something of torrents: `torrent-set` and `torrent-set-location`.
 */
import * as Effect from "effect/Effect"
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
import * as TorrentMethods from "./TorrentMethods.ts"

type Run = RpcRun.RpcRun

const read = {
  set: RpcArguments.reader(RpcArguments.TorrentSet),
  location: RpcArguments.reader(RpcArguments.TorrentSetLocation)
}

/** How long a client waits for a move, which may take hours, to learn what fails at once. */
const patience = "2 seconds"

/** The folder that a location names, without slashes at its end. */
const folderOf = Effect.fnUntraced(function* (location: string) {
  if (!TorrentFields.isAbsolute(location)) return yield* RpcRefused.because("location: the path is not absolute")
  const folder = location.replace(/(?<=.)\/+$/, "")
  yield* SessionInput.folder(folder)
  return folder
})

/** Moves the files of a torrent to a folder, unless they are there. The move goes on when nobody waits for it. */
const moveFiles = Effect.fnUntraced(function* (
  { facts: { directory } }: Run,
  torrent: SessionTorrent,
  status: SessionStatus,
  location: string
) {
  const folder = yield* folderOf(location)
  if (folder === TorrentFields.folderOf({ directory, status })) return
  yield* Effect.timeoutOption(torrent.moveTo(folder === directory ? undefined : folder), patience)
})

/** `torrent-set-location`. Files are moved, and not looked for elsewhere. */
export const setLocation = Effect.fnUntraced(function* (self: Run, given: unknown) {
  const { ids, location, move = false } = yield* read.location(given)
  if (!move)
    return yield* RpcRefused.because("the files of a torrent can be moved, but not looked for in another folder")
  yield* RpcRun.forEach(self, ids, (torrent, status) => moveFiles(self, torrent, status, location))
  return RpcRun.nothing
})

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
      if (asked.location !== undefined) yield* folderOf(asked.location)
      if (FileChoice.isAsked(asked)) yield* setFiles(torrent, asked)
      if (asked.labels !== undefined) yield* torrent.setLabels(asked.labels)
      if (Object.keys(options).length > 0) yield* torrent.setOptions(options)
      if (asked.location !== undefined) yield* moveFiles(self, torrent, status, asked.location)
    })
  )
  if (asked.queuePosition !== undefined) {
    const queue = yield* RpcRun.torrents(self)
    const chosen = TorrentIds.select(self.ids, queue, asked.ids, yield* Monotonic.now)
    const place = asked.queuePosition
    for (const [index, torrent] of chosen.entries()) {
      yield* TorrentMethods.placeInQueue(self, QueueMoves.toPlace(yield* RpcRun.torrents(self), torrent, place + index))
    }
  }
  return RpcRun.nothing
})

/** Why something cannot be set, whatever the torrent; `undefined` if all of it can. */
export const refusalOf = (asked: Partial<RpcArguments.TorrentSet>): string | undefined => {
  if ((asked.bandwidthPriority ?? 0) !== 0) return "torrents have no bandwidth priority here"
  if ((asked.group ?? "") !== "") return "there are no bandwidth groups here"
  if (asked.honorsSessionLimits === false) return "a torrent cannot be exempted from the limits of the session here"
  if (asked.seedIdleMode === 1) return "seeding cannot end because a torrent is idle here"
  const trackers = [asked.trackerAdd, asked.trackerList, asked.trackerRemove, asked.trackerReplace]
  return trackers.some((value) => value !== undefined) ? "the trackers of a torrent cannot be changed here" : undefined
}

const setFiles = Effect.fnUntraced(function* (torrent: SessionTorrent, asked: FileChoice.Asked) {
  const known = yield* torrent.files
  if (known.length === 0) return yield* RpcRefused.because("the files of the torrent are not known yet")
  yield* torrent.setFiles((files) => {
    const priorities = FileChoice.apply(files, asked)
    return priorities instanceof RpcRefused.RpcRefused ? Effect.fail(priorities) : Effect.succeed(priorities)
  })
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
