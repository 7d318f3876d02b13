/**
 * A DHT that begins when it is first used: a program whose torrents are all private opens no socket for it and asks no
 * router. A torrent that is not private uses it even if its peers are given, because it is looked up and announced all
 * the same.
 */
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { Dht } from "./Dht.ts"
import type { DhtStatus } from "./DhtStatus.ts"

/** The status of a DHT that has not begun. */
const resting: DhtStatus = { isReadOnly: false }

/** Provides a DHT that `load` makes for its first user. It ends with the scope of this layer. */
export const layer = <R>(load: Effect.Effect<Layer.Layer<Dht, never, R>>): Layer.Layer<Dht, never, R> =>
  Layer.effect(
    Dht,
    Effect.gen(function* () {
      const scope = yield* Effect.scope
      let begun: Dht["Service"] | undefined
      let beginning: Deferred.Deferred<Dht["Service"]> | undefined
      const services = Context.omit(Scope.Scope)(yield* Effect.context<R>()) as Context.Context<R>
      const begin = Effect.gen(function* () {
        const context = yield* Layer.buildWithScope(yield* load, scope)
        begun = Context.get(context, Dht)
        return begun
        // Nothing of its first user: a torrent's annotations, span and handler of defects would stay in its fibers.
      }).pipe(Effect.updateContext((_: Context.Context<never>) => services))
      // It begins in a fiber of its own, and so goes on if its first user is interrupted, for whom others may wait. If
      // it cannot begin, the next user tries again.
      const get = Effect.suspend(() => {
        if (beginning !== undefined) return Deferred.await(beginning)
        const mine = Deferred.makeUnsafe<Dht["Service"]>()
        beginning = mine
        return begin.pipe(
          Effect.onExit((exit) => {
            if (Exit.isFailure(exit)) beginning = undefined
            return Deferred.done(mine, exit)
          }),
          Effect.forkIn(scope, { startImmediately: true }),
          Effect.andThen(Deferred.await(mine))
        )
      })
      return Dht.of({
        peers: (infoHash, options) => Stream.unwrap(Effect.map(get, (dht) => dht.peers(infoHash, options))),
        announce: (infoHash, announce) => Effect.flatMap(get, (dht) => dht.announce(infoHash, announce)),
        scrape: (infoHash) => Effect.flatMap(get, (dht) => dht.scrape(infoHash)),
        addNode: (address, options) => Effect.flatMap(get, (dht) => dht.addNode(address, options)),
        portUnsafe: (family) => begun?.portUnsafe(family),
        status: Effect.suspend(() => begun?.status ?? Effect.succeed(resting))
      })
    })
  )
