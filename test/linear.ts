import { assert } from "@effect/vitest"

/** Milliseconds below which a time says nothing, because a collection of garbage may take as long. */
const noiseMillis = 10

/**
 * The CPU time of this process outside of the kernel, in milliseconds. It does not pass while other processes have the
 * cores, and leaves out the kernel's time for fresh memory, which differs by a factor of eight on a virtual machine.
 */
export const cpuMillis = (): number => process.cpuUsage().user / 1_000

/** The CPU time of the fastest of some runs, because collections of garbage and cold caches only slow a run. */
const fastest = (run: () => unknown, enough: number): number => {
  let least = Number.POSITIVE_INFINITY
  for (let runs = 0; runs < 5 && least > enough; runs++) {
    const begin = cpuMillis()
    run()
    least = Math.min(least, cpuMillis() - begin)
  }
  return least
}

/**
 * Fails if four times the input takes twelve times as long or more. Linear work takes four times as long, quadratic
 * work sixteen times. `length` is where quadratic work takes far longer than `noiseMillis`, and `make` builds an input
 * of about that length. Building it is not measured.
 */
export const assertLinear = <A>(length: number, make: (length: number) => A, run: (input: A) => unknown): void =>
  assertGrowth(length, 4, 12, make, run)

/** Fails if 64 times the input takes 12 times as long or more: what is refused for its length must not be read. */
export const assertBounded = <A>(length: number, make: (length: number) => A, run: (input: A) => unknown): void =>
  assertGrowth(length, 64, 12, make, run)

const assertGrowth = <A>(
  length: number,
  times: number,
  limit: number,
  make: (length: number) => A,
  run: (input: A) => unknown
): void => {
  const short = make(length)
  const long = make(length * times)
  run(short)
  const floor = Math.max(
    fastest(() => run(short), 0),
    noiseMillis
  )
  const taken = fastest(() => run(long), floor * limit)
  assert.isBelow(taken, floor * limit, `${times} times ${length} took ${(taken / floor).toFixed(1)} times as long`)
}
