/**
 * Elapsed time: milliseconds of a clock that never goes back and cannot be set.
 *
 * Everything that waits, measures or expires reads this clock. The wall clock (`Clock.currentTimeMillis`) may be set by
 * minutes or days at any moment, so it is only for what people read. Effect's `sleep` and timeouts do not depend on it,
 * but a few of Effect's modules measure by it: `clock` and `schedule` make them use this time.
 */
import type * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"

/**
 * Whole milliseconds since some moment, the same for all readings of one clock; only differences have a meaning.
 * Whether time counts while the machine is suspended depends on the system, so a reading may be hours after the
 * previous one.
 */
export const nowUnsafe = (clock: Clock.Clock): number => Math.floor(Number(clock.monotonicTimeNanosUnsafe()) / 1e6)

/** The same in seconds, with all digits of the clock: for what is over in less than a millisecond. */
export const secondsUnsafe = (clock: Clock.Clock): number => Number(clock.monotonicTimeNanosUnsafe()) / 1e9

/** `nowUnsafe` of the fiber's clock. */
export const now: Effect.Effect<number> = Effect.clockWith((clock) => Effect.sync(() => nowUnsafe(clock)))

/** `clock` with elapsed time in place of the wall clock's, for Effect's modules that measure by the wall clock. */
export const clock = (clock: Clock.Clock): Clock.Clock => ({
  currentTimeMillisUnsafe: () => nowUnsafe(clock),
  currentTimeMillis: Effect.sync(() => nowUnsafe(clock)),
  currentTimeNanosUnsafe: () => clock.monotonicTimeNanosUnsafe(),
  currentTimeNanos: clock.monotonicTimeNanos,
  monotonicTimeNanosUnsafe: () => clock.monotonicTimeNanosUnsafe(),
  monotonicTimeNanos: clock.monotonicTimeNanos,
  sleep: (duration) => clock.sleep(duration)
})

/** `self`, but what it measures as elapsed time (`upTo`, `during`, `windowed`) is measured in this time. */
export const schedule = <Output, Input, Error, Env>(
  self: Schedule.Schedule<Output, Input, Error, Env>
): Schedule.Schedule<Output, Input, Error, Env> =>
  Schedule.fromStep(
    Effect.clockWith((clock) =>
      Effect.map(Schedule.toStep(self), (step) => (_: number, input: Input) => step(nowUnsafe(clock), input))
    )
  )
