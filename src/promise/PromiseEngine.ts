/**
 * An engine for programs that write promises.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Layer from "effect/Layer"
import * as ManagedRuntime from "effect/ManagedRuntime"
import * as Scope from "effect/Scope"
import * as Effectful from "../engine/Engine.ts"
import * as WebCryptoPieceHasher from "../hash/provider/WebCryptoPieceHasher.ts"
import * as Magnet from "../metainfo/Magnet.ts"
import * as Metainfo from "../metainfo/Metainfo.ts"
import type { Torrent } from "../torrent/Torrent.ts"
import * as PromiseTorrent from "./PromiseTorrent.ts"
import type { Waiting } from "./Running.ts"
import * as Running from "./Running.ts"

/**
 * Runs torrents until it is closed; `await using` closes it at the end of the block. Closing stops its torrents, tells
 * their trackers, and closes every file and connection.
 */
export interface Engine extends AsyncDisposable {
  /** The same engine, for effects. */
  readonly effectful: Effectful.Engine["Service"]
  /**
   * Adds a torrent: by the bytes of a torrent file, a magnet link, or what these were decoded to. Resolves at once, and
   * the torrent runs by itself. Rejects with `MetainfoError` or `MagnetError` if the source is invalid, with
   * `AlreadyAdded` if the engine has the torrent, or with `OnlyV2` if the link is of version 2 only.
   */
  readonly add: (
    source: Uint8Array | string | Metainfo.Metainfo | Magnet.Magnet,
    options?: Effectful.AddOptions
  ) => Promise<PromiseTorrent.Torrent>
  /** The torrents that were added here and have not ended, in the order in which they were added. */
  readonly torrents: () => ReadonlyArray<PromiseTorrent.Torrent>
  /** The one of them with an info hash in hex. */
  readonly get: (infoHash: string) => PromiseTorrent.Torrent | undefined
  /** What happens to all torrents, beginning with `Added` for each that there is. */
  readonly events: (waiting?: Waiting) => AsyncIterable<Effectful.EngineEvent>
  /** What its torrents do and have together. */
  readonly status: () => Promise<Effectful.EngineStatus>
  /** Replaces the rate limits for all torrents together. */
  readonly setLimits: (limits: Effectful.Limits) => Promise<void>
  /** Stops every torrent, and closes the engine. Waits until it is closed if it is called again. */
  readonly close: () => Promise<void>
}

const decode = (source: Uint8Array | string | Metainfo.Metainfo | Magnet.Magnet) => {
  if (typeof source === "string") return Effect.fromResult(Magnet.parse(source))
  if (!(source instanceof Uint8Array)) return Effect.succeed(source)
  return Effect.provide(Metainfo.fromBytes(source), WebCryptoPieceHasher.layer)
}

/** Builds an engine from a layer, such as one with your own storage. Rejects with the error of the layer. */
export const fromLayer = async <E>(layer: Layer.Layer<Effectful.Engine, E>): Promise<Engine> => {
  const runtime = ManagedRuntime.make(layer)
  const context = await runtime.context()
  const engine = Context.get(context, Effectful.Engine)
  const scope = Scope.makeUnsafe()
  const handles = new WeakMap<Torrent, PromiseTorrent.Torrent>()
  /** What ends torrents now. The layer must not close before that is done. */
  const ending = new Set<Promise<unknown>>()
  const track = <A>(promise: Promise<A>): Promise<A> => {
    const done = () => void ending.delete(promise)
    ending.add(promise)
    promise.then(done, done)
    return promise
  }

  const add = Effect.fnUntraced(function* (source: Parameters<Engine["add"]>[0], options?: Effectful.AddOptions) {
    const decoded = yield* decode(source)
    const own = yield* Scope.fork(scope)
    const added = Scope.provide(engine.add(decoded, options), own)
    const torrent = yield* Effect.onError(added, () => Scope.close(own, Exit.void))
    const handle = PromiseTorrent.make(torrent, own, track)
    handles.set(torrent, handle)
    return handle
  }, Effect.uninterruptible)
  const torrents = () => Effect.runSync(engine.torrents).flatMap((torrent) => handles.get(torrent) ?? [])
  let closing: Promise<void> | undefined
  const closeAll = async () => {
    try {
      await Running.promise(context, Scope.close(scope, Exit.void))
      await Promise.allSettled(ending)
    } finally {
      await runtime.dispose()
    }
  }
  const close = () => {
    closing ??= closeAll()
    return closing
  }

  return {
    effectful: engine,
    add: (source, options) => Running.promise(context, add(source, options)),
    torrents,
    get: (infoHash) => torrents().find((torrent) => torrent.infoHash === infoHash.toLowerCase()),
    events: (waiting) => Running.iterable(context, engine.events, waiting),
    status: () => Running.promise(context, engine.status),
    setLimits: (limits) => Running.promise(context, engine.setLimits(limits)),
    close,
    [Symbol.asyncDispose]: close
  }
}
