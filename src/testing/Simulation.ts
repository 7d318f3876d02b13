/**
 * A program in simulated time: nothing moves the clock except `advance`, and the same seed makes the same run, to the
 * last turn of the scheduler. The wall clock moves along, and may be set like that of any machine.
 *
 * What runs outside JavaScript ends at unpredictable times and would disturb the order of a run. Here that is only the
 * digests: each waits until nothing else happens, and time stands still until it is done.
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Latch from "effect/Latch"
import * as Layer from "effect/Layer"
import * as Random from "effect/Random"
import * as Scheduler from "effect/Scheduler"
import * as Scope from "effect/Scope"
import * as Semaphore from "effect/Semaphore"
import * as TestClock from "effect/testing/TestClock"
import { PieceHasher } from "../hash/PieceHasher.ts"
import * as WebCryptoPieceHasher from "../hash/provider/WebCryptoPieceHasher.ts"

/** Step of the clock, in milliseconds, while pieces are digested: a digest takes no longer than that. */
export const shortStep = 100

/** Largest step of the clock, in milliseconds, while none are. */
export const longStep = 1_000

/** After this many turns of the scheduler without work, there is nothing left to do. */
const quietTurns = 3

/** The control of a simulated run. */
export class Simulation extends Context.Service<
  Simulation,
  {
    readonly seed: number
    /** Milliseconds since the run began. */
    readonly nowUnsafe: () => number
    /** Runs everything that needs no time. */
    readonly settle: Effect.Effect<void>
    /**
     * Moves the clock, in steps of a second at most, and runs everything that is due. Runs `inspect` after every step.
     */
    readonly advance: (duration: Duration.Input, inspect?: Effect.Effect<void>) => Effect.Effect<void>
    /** Sets the wall clock forward by `millis`, or back if it is negative; no time passes. */
    readonly stepWallClock: (millis: number) => Effect.Effect<void>
    /**
     * Lets `duration` pass at once, as after a suspend: both clocks read later, and nothing ran meanwhile. Sleeping
     * fibers wake no earlier than without it.
     */
    readonly leap: (duration: Duration.Input) => Effect.Effect<void>
    /** Runs `effect` and moves the clock until it ends. Runs `inspect` after every step. */
    readonly during: <A, E, R>(effect: Effect.Effect<A, E, R>, inspect?: Effect.Effect<void>) => Effect.Effect<A, E, R>
    /** Tasks of all fibers so far: a program that sleeps for ever or has ended adds none. */
    readonly turns: () => number
  }
>()("piecewise/testing/Simulation") {}

/** A scheduler that counts. */
const makeScheduler = () => {
  const below = new Scheduler.MixedScheduler()
  let tasks = 0
  const scheduler: Scheduler.Scheduler = {
    executionMode: below.executionMode,
    shouldYield: (fiber) => below.shouldYield(fiber),
    makeDispatcher: () => {
      const dispatcher = below.makeDispatcher()
      return {
        scheduleTask: (task, priority) => {
          tasks++
          dispatcher.scheduleTask(task, priority)
        },
        flush: () => dispatcher.flush()
      }
    }
  }
  return { scheduler, tasks: () => tasks }
}

/** How far the program's clock is ahead of the test clock, in milliseconds. */
interface Ahead {
  wallMillis: number
  elapsedMillis: number
}

const clockAhead = (clock: Clock.Clock, ahead: Ahead): Clock.Clock => {
  const nanos = (millis: number) => BigInt(Math.round(millis * 1e6))
  const currentTimeMillisUnsafe = () => clock.currentTimeMillisUnsafe() + ahead.wallMillis
  const currentTimeNanosUnsafe = () => clock.currentTimeNanosUnsafe() + nanos(ahead.wallMillis)
  const monotonicTimeNanosUnsafe = () => clock.monotonicTimeNanosUnsafe() + nanos(ahead.elapsedMillis)
  return {
    // Code that moves a test clock still finds it here.
    ...clock,
    currentTimeMillisUnsafe,
    currentTimeMillis: Effect.sync(currentTimeMillisUnsafe),
    currentTimeNanosUnsafe,
    currentTimeNanos: Effect.sync(currentTimeNanosUnsafe),
    monotonicTimeNanosUnsafe,
    monotonicTimeNanos: Effect.sync(monotonicTimeNanosUnsafe)
  }
}

const make = Effect.fnUntraced(function* (seed: number, tasks: () => number) {
  const hasher = yield* WebCryptoPieceHasher.make
  const clock = yield* TestClock.testClockWith(Effect.succeed)
  const ahead: Ahead = { wallMillis: 0, elapsedMillis: 0 }
  const oneByOne = Semaphore.makeUnsafe(1)
  let waited = 0
  let digests = 0
  let pending = 0
  /** Open while the clock stands: a fiber that waits for quiet while the clock moves would stop it. */
  const still = Latch.makeUnsafe(true)

  /** Waits until no fiber, except those that wait here, has anything to do. */
  const quiet = Effect.gen(function* () {
    let turns = 0
    while (turns < quietTurns) {
      const before = tasks() - waited
      waited++
      yield* Effect.yieldNow
      turns = tasks() - waited === before ? turns + 1 : 0
    }
  })

  const digest = (compute: Effect.Effect<Uint8Array>) =>
    Effect.suspend(() => {
      pending++
      digests++
      return oneByOne.withPermits(1)(still.await.pipe(Effect.andThen(quiet), Effect.andThen(compute)))
    }).pipe(Effect.ensuring(Effect.sync(() => void pending--)))

  const settle = Effect.gen(function* () {
    do yield* quiet
    while (pending > 0)
  })

  const advance = Effect.fnUntraced(function* (duration: Duration.Input, inspect: Effect.Effect<void> = Effect.void) {
    const end = clock.currentTimeMillisUnsafe() + Duration.toMillis(duration)
    let step = shortStep
    yield* settle
    while (clock.currentTimeMillisUnsafe() < end) {
      const before = digests
      still.closeUnsafe()
      // The clock ends a wait by interruption; if that is off, as in a finalizer, it would wait for a second.
      yield* Effect.interruptible(TestClock.adjust(Math.min(step, end - clock.currentTimeMillisUnsafe()))).pipe(
        Effect.ensuring(Effect.sync(() => still.openUnsafe()))
      )
      yield* settle
      yield* inspect
      step = digests > before ? shortStep : Math.min(longStep, step * 2)
    }
  })

  const stepWallClock = (millis: number) =>
    Effect.sync(() => {
      ahead.wallMillis += millis
    })

  const leap = (duration: Duration.Input) =>
    Effect.sync(() => {
      ahead.wallMillis += Duration.toMillis(duration)
      ahead.elapsedMillis += Duration.toMillis(duration)
    })

  const during = Effect.fnUntraced(function* <A, E, R>(effect: Effect.Effect<A, E, R>, inspect?: Effect.Effect<void>) {
    const fiber = yield* Effect.forkChild(effect, { startImmediately: true })
    yield* settle
    while (fiber.pollUnsafe() === undefined) yield* advance(shortStep, inspect)
    return yield* Fiber.join(fiber)
  })

  return Context.make(
    Simulation,
    Simulation.of({
      seed,
      nowUnsafe: () => clock.currentTimeMillisUnsafe(),
      settle,
      advance,
      stepWallClock,
      leap,
      during,
      turns: () => tasks() - waited
    })
  ).pipe(
    Context.add(Clock.Clock, clockAhead(clock, ahead)),
    Context.add(
      PieceHasher,
      PieceHasher.of({
        sha1: (bytes) => digest(hasher.sha1(bytes)),
        sha256: (bytes) => digest(hasher.sha256(bytes))
      })
    )
  )
})

/**
 * Runs a program from time 0, its scope included, with all chance drawn from `seed`. A fiber that waits for time to
 * pass waits for `advance`.
 */
export const run = <A, E, R>(
  seed: number,
  program: Effect.Effect<A, E, R>
): Effect.Effect<A, E, Exclude<R, Simulation | PieceHasher | Scope.Scope>> =>
  Effect.suspend(() => {
    const { scheduler, tasks } = makeScheduler()
    const closing = Effect.gen(function* () {
      const context = yield* make(seed, tasks)
      const { during } = Context.get(context, Simulation)
      const scope = yield* Scope.make()
      // Finalizers may wait for what is in flight, and that for time to pass.
      return yield* Effect.onExit(Effect.provideContext(Scope.provide(program, scope), context), (exit) =>
        during(Scope.close(scope, Exit.asVoid(exit)))
      )
    })
    return closing.pipe(
      Random.withSeed(seed),
      Effect.provide(TestClock.layer(), { local: true }),
      Effect.provideService(Scheduler.Scheduler, scheduler)
    )
  }) as Effect.Effect<A, E, Exclude<R, Simulation | PieceHasher | Scope.Scope>>

/** What a simulated program runs with, until the scope closes: its clock, chance, scheduler, digests and control. */
export const services = (seed: number): Effect.Effect<Context.Context<Simulation | PieceHasher>, never, Scope.Scope> =>
  Effect.suspend(() => {
    const { scheduler, tasks } = makeScheduler()
    return Effect.gen(function* () {
      const time = yield* Layer.build(Layer.fresh(TestClock.layer()))
      const control = yield* Effect.provideContext(make(seed, tasks), time)
      const random = yield* Random.withSeed(Random.Random, seed)
      return Context.merge(time, control).pipe(Context.add(Random.Random, random))
    }).pipe(Effect.provideService(Scheduler.Scheduler, scheduler))
  })
