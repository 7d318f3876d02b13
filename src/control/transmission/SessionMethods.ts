/**
 * The methods of the Transmission RPC that are about the session as a whole.
 */
import * as Effect from "effect/Effect"
import * as Equal from "effect/Equal"
import * as Monotonic from "../../base/Monotonic.ts"
import * as ListeningPort from "../../network/ListeningPort.ts"
import type { SessionLimits } from "../../session/SavedTorrent.ts"
import * as RpcArguments from "./RpcArguments.ts"
import * as RpcRefused from "./RpcRefused.ts"
import * as RpcRun from "./RpcRun.ts"
import * as SessionFields from "./SessionFields.ts"
import * as TorrentFields from "./TorrentFields.ts"

type Run = RpcRun.RpcRun

const read = {
  get: RpcArguments.reader(RpcArguments.SessionGet),
  set: RpcArguments.reader(RpcArguments.SessionSet),
  space: RpcArguments.reader(RpcArguments.FreeSpace)
}

const fieldsOf = (self: Run, limits: SessionLimits): Effect.Effect<Readonly<Record<string, unknown>>> =>
  Effect.gen(function* () {
    const { choices, engine, facts, sessionId } = self
    return {
      ...SessionFields.of({
        limits,
        choices,
        directory: facts.directory,
        freeBytes: yield* facts.freeBytes,
        port: engine.listening === undefined ? 0 : (ListeningPort.current(engine.port) ?? 0),
        sessionId
      }),
      ...SessionFields.ofOptions(self.options)
    }
  })

/** `session-get`. */
export const get = Effect.fnUntraced(function* (self: Run, given: unknown) {
  const { fields } = yield* read.get(given)
  const all = yield* fieldsOf(self, yield* self.session.limits)
  if (fields === undefined) return all
  return Object.fromEntries(fields.filter((name) => Object.hasOwn(all, name)).map((name) => [name, all[name]]))
})

const changeable: ReadonlySet<string> = new Set(Object.keys(RpcArguments.SessionSet.fields))

/**
 * `session-set`. Changes nothing if something of it cannot be changed, unless that is as it is asked for already. What is
 * not enabled is remembered until the service ends.
 */
export const set = Effect.fnUntraced(function* (self: Run, given: unknown) {
  const asked = yield* read.set(given)
  const limits = yield* self.session.limits
  const now = yield* fieldsOf(self, limits)
  for (const [name, value] of Object.entries(given ?? {})) {
    if (changeable.has(name) || !Object.hasOwn(now, name) || Equal.equals(now[name], value)) continue
    return yield* RpcRefused.because(`${name} cannot be changed here`)
  }
  const { choices } = self
  const chosen: SessionFields.Choices = {
    speedLimitDown: asked["speed-limit-down"] ?? choices.speedLimitDown,
    speedLimitUp: asked["speed-limit-up"] ?? choices.speedLimitUp,
    downloadQueueSize: asked["download-queue-size"] ?? choices.downloadQueueSize,
    seedQueueSize: asked["seed-queue-size"] ?? choices.seedQueueSize,
    startAddedTorrents: asked["start-added-torrents"] ?? choices.startAddedTorrents
  }
  const wanted = limitsOf(limits, asked, chosen)
  if (!isSame(limits, wanted)) {
    yield* Effect.mapError(self.session.setLimits(wanted), ({ message }) => RpcRefused.because(message))
  }
  self.choices = chosen
  return RpcRun.nothing
})

/** A limit after a change of its value or of whether it is enabled. A chosen value counts if it is enabled. */
const limitAfter = <A>(now: A | undefined, isEnabled: boolean | undefined, given: A | undefined, chosen: A) =>
  (isEnabled ?? now !== undefined) ? (given ?? now ?? chosen) : undefined

const limitsOf = (now: SessionLimits, asked: RpcArguments.SessionSet, chosen: SessionFields.Choices): SessionLimits => {
  const bytes = (kilobytes: number | undefined) =>
    kilobytes === undefined ? undefined : kilobytes * TorrentFields.kilobyte
  return {
    downloads: limitAfter(
      now.downloads,
      asked["download-queue-enabled"],
      asked["download-queue-size"],
      chosen.downloadQueueSize
    ),
    seeds: limitAfter(now.seeds, asked["seed-queue-enabled"], asked["seed-queue-size"], chosen.seedQueueSize),
    downloadBytesPerSecond: limitAfter(
      now.downloadBytesPerSecond,
      asked["speed-limit-down-enabled"],
      bytes(asked["speed-limit-down"]),
      chosen.speedLimitDown * TorrentFields.kilobyte
    ),
    uploadBytesPerSecond: limitAfter(
      now.uploadBytesPerSecond,
      asked["speed-limit-up-enabled"],
      bytes(asked["speed-limit-up"]),
      chosen.speedLimitUp * TorrentFields.kilobyte
    )
  }
}

const isSame = (one: SessionLimits, other: SessionLimits): boolean =>
  one.downloads === other.downloads &&
  one.seeds === other.seeds &&
  one.downloadBytesPerSecond === other.downloadBytesPerSecond &&
  one.uploadBytesPerSecond === other.uploadBytesPerSecond

/** `session-stats`. What went before this run is known of the torrents that are still there. */
export const statistics = Effect.fnUntraced(function* (self: Run) {
  const all = yield* RpcRun.torrents(self)
  const engine = yield* self.engine.status
  const secondsActive = Math.floor(((yield* Monotonic.now) - self.startedAt) / 1_000)
  const sum = (of: (torrent: (typeof all)[number]) => number) => all.reduce((total, torrent) => total + of(torrent), 0)
  const count = (tag: string) => all.filter(({ state }) => state._tag === tag).length
  const counted = { filesAdded: all.length, sessionCount: 1, secondsActive }
  return {
    activeTorrentCount: count("Active"),
    pausedTorrentCount: count("Paused"),
    torrentCount: all.length,
    downloadSpeed: Math.round(engine.downloadBytesPerSecond),
    uploadSpeed: Math.round(engine.uploadBytesPerSecond),
    "cumulative-stats": {
      ...counted,
      downloadedBytes: sum(({ statistics }) => statistics.downloadedBytes),
      uploadedBytes: sum(({ statistics }) => statistics.uploadedBytes)
    },
    "current-stats": { ...counted, downloadedBytes: engine.downloadedBytes, uploadedBytes: engine.uploadedBytes }
  }
})

/** `session-close`. */
export const close = (self: Run): RpcRun.Answer => {
  const { close } = self.options
  if (close === undefined) return Effect.fail(RpcRefused.because("the service cannot be ended by clients"))
  // After the answer.
  return Effect.as(Effect.forkIn(Effect.delay(close, "100 millis"), self.scope), RpcRun.nothing)
}

/** `free-space`. */
export const freeSpace = Effect.fnUntraced(function* (self: Run, given: unknown) {
  const { path } = yield* read.space(given)
  const { space } = self.options
  if (space === undefined) return yield* RpcRefused.because("the room on a disk is not known")
  const { freeBytes, totalBytes } = yield* Effect.mapError(space(path), ({ message }) => RpcRefused.because(message))
  return { path, "size-bytes": freeBytes, total_size: totalBytes }
})

/** `group-get`: there are none. */
export const groups: RpcRun.Answer = Effect.succeed({ group: [] })
