/**
 * The methods of the Transmission RPC that read torrents and say what they should do. `TorrentSetting.ts` has those that
 * set something of them, and `TorrentAdding.ts` the one that adds them.
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Monotonic from "../../base/Monotonic.ts"
import type { SessionStatus } from "../../session/SessionStatus.ts"
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
  remove: RpcArguments.reader(RpcArguments.TorrentRemove),
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
const whyKept = ([path, ...others]: ReadonlyArray<string>): string => {
  const more = others.length === 0 ? "" : ` (and ${others.length} other files)`
  return `the torrent was removed, but not ${path}${more}: it may be somebody else's`
}

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
      for (const move of QueueMoves.moves(queue, chosen, direction)) yield* placeInQueue(self, move)
      return RpcRun.nothing
    })

/** Makes a move. The torrent may be gone. */
export const placeInQueue = (self: Run, { place, torrent }: QueueMoves.Move<SessionStatus>) =>
  RpcRun.withTorrent(self, torrent, ({ move }) =>
    move(typeof place === "string" ? place : { before: place.before.infoHash })
  ).pipe(
    Effect.catchTag("piecewise/NotInSession", () => Effect.void),
    Effect.mapError(({ message }) => RpcRefused.because(message))
  )
