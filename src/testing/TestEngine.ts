/**
 * An engine for tests of your own program: what `NodeEngine.layer` provides, in a simulated world. A program that is
 * written against `Engine` runs in it unchanged.
 *
 * ```ts
 * import assert from "node:assert/strict"
 * import { Effect } from "effect"
 * import { Engine } from "piecewise"
 * import { FaultyStorage, KnownTorrent, PeerBehaviour, TestEngine } from "piecewise/testing"
 *
 * const test = Effect.gen(function* () {
 *   const { during, faults, join, medium } = yield* TestEngine.TestEngine
 *   const known = yield* KnownTorrent.make({ files: [{ path: [], length: 300_000 }], pieceLength: 65_536 })
 *   yield* join(known, PeerBehaviour.honest)
 *   faults.failAll("write", FaultyStorage.diskFull)
 *   yield* Effect.forkScoped(Effect.delay(Effect.sync(() => faults.recover()), "1 minute"))
 *
 *   // In place of the program under test.
 *   const torrent = yield* Engine.Engine.use((engine) => engine.add(known.metainfo))
 *   yield* during(torrent.completed)
 *
 *   assert(medium.torrent(known.metainfo.layout).isWhole)
 * })
 * await Effect.runPromise(test.pipe(Effect.scoped, Effect.provide(TestEngine.layer({ seed: 7 }))))
 * ```
 *
 * Scripted peers send metadata too (BEP 9), so the program may add a magnet link.
 *
 * The program finds the peers that joined by itself, as through a tracker. No time passes by itself: `during` and
 * `advance` move the clock, and all that the program sees of time and chance follows from the seed, so a test that
 * failed fails again with the same seed. The laws of `SwarmLaws.ts` hold for every torrent that it adds, or the test
 * dies.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import { Tracker } from "../discovery/tracker/Tracker.ts"
import { Engine } from "../engine/Engine.ts"
import type { PieceHasher } from "../hash/PieceHasher.ts"
import * as UdpHub from "../network/UdpHub.ts"
import * as JoinedPeers from "./JoinedPeers.ts"
import type { MemoryNetwork } from "./MemoryNetwork.ts"
import * as MemoryUdpNetwork from "./MemoryUdpNetwork.ts"
import * as Simulation from "./Simulation.ts"
import * as Swarms from "./Swarms.ts"

/** How the world of a test is made. Torrents find the peers that join, unless `findsPeers` is false. */
export type Options = Swarms.Options

/** The controls of the world: its peers, network, storage faults, medium, resume data and clock. */
export class TestEngine extends Context.Service<TestEngine, Swarms.World>()("piecewise/testing/TestEngine") {}

/** What a program gets: everything that `NodeEngine.layer` provides. */
export type Provided = Engine | Swarms.Services | Tracker | UdpHub.UdpHub

/** What a test gets besides. */
export type Controls = TestEngine | MemoryNetwork | Simulation.Simulation

/**
 * An engine in a world of its own, which nothing of another world touches. It replaces the clock, the scheduler and the
 * source of random numbers of whoever it is provided to. When it ends, its torrents are stopped, while the clock moves.
 */
export const layer = (options: Options = {}): Layer.Layer<Provided | Controls> =>
  Layer.effectContext(
    Effect.gen(function* () {
      const { seed = 1 } = options
      const simulated = yield* Simulation.services(seed)
      const { during } = Context.get(simulated, Simulation.Simulation)
      // Finalizers may wait for what is in flight, and that for time to pass.
      const scope = yield* Effect.acquireRelease(Scope.make(), (scope, exit) =>
        Effect.provideContext(during(Scope.close(scope, exit)), simulated)
      )
      return yield* make({ ...options, seed }).pipe(
        Scope.provide(scope),
        Effect.provideContext(simulated),
        Effect.map((context) => Context.merge(simulated, context))
      )
    })
  )

const make = Effect.fnUntraced(function* (options: Options & { readonly seed: number }) {
  const { peers, services, world } = yield* Swarms.makeFirst({ findsPeers: true, ...options })
  const hub = yield* Layer.build(
    Layer.provide(UdpHub.layer(), MemoryUdpNetwork.layer({ seed: options.seed, latency: options.link?.latency }))
  )
  return Context.make(TestEngine, world).pipe(
    Context.add(Engine, world.engine),
    Context.add(Tracker, JoinedPeers.tracker(peers)),
    Context.merge(hub),
    Context.merge(services)
  )
})

/**
 * Runs a program that needs an engine in a world of its own, and moves the clock until it ends. `prepare` is run before:
 * it lets peers join, and sets faults.
 */
export const run = <A, E, R, E2 = never, R2 = never>(
  program: Effect.Effect<A, E, R>,
  options: Options & {
    readonly prepare?: ((world: Swarms.World) => Effect.Effect<unknown, E2, R2>) | undefined
  } = {}
): Effect.Effect<A, E | E2, Exclude<Exclude<R | R2, Scope.Scope>, Provided | Controls | PieceHasher>> =>
  Effect.gen(function* () {
    const world = yield* TestEngine
    if (options.prepare !== undefined) yield* options.prepare(world)
    return yield* world.during(program)
  }).pipe(Effect.scoped, Effect.provide(layer(options))) as never
