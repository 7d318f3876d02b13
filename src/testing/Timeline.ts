/**
 * Future actions of simulated media: plain functions run in order of time, and of scheduling within a time.
 *
 * Time is Effect's `Clock`, so a `TestClock` moves it; it is read when the timeline is made. An action that is due at
 * once still waits for one turn of Effect's scheduler, and so does every action that another one schedules: fibers run
 * between cause and effect, and no action ever runs inside the call that scheduled it.
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import type * as Scope from "effect/Scope"
import * as Heap from "../base/Heap.ts"
import * as Monotonic from "../base/Monotonic.ts"

/** An agenda that ends with its scope; actions scheduled later never run. */
export interface Timeline {
  /** Milliseconds, of the clock. */
  readonly nowUnsafe: () => number
  /** Runs `action` at `time` (milliseconds), or as soon as possible when that is past. It must not throw. */
  readonly scheduleUnsafe: (time: number, action: () => void) => void
}

interface Entry {
  readonly time: number
  readonly order: number
  readonly action: () => void
}

/** A timeline of the fiber's clock. */
export const make: Effect.Effect<Timeline, never, Scope.Scope> = Effect.gen(function* () {
  const clock = yield* Clock.Clock
  const fork = Effect.runForkWith(yield* Effect.context<never>())
  const heap: Array<Entry> = []
  let order = 0
  let ended = false
  let timer: { readonly time: number; fiber: Fiber.Fiber<void> | undefined } | undefined

  const arm = () => {
    const next = heap[0]
    if (next === undefined || ended) return
    const now = Monotonic.nowUnsafe(clock)
    const time = Math.max(next.time, now)
    if (timer !== undefined) {
      if (timer.time <= time) return
      timer.fiber?.interruptUnsafe()
    }
    const mine: NonNullable<typeof timer> = { time, fiber: undefined }
    timer = mine
    // Whole milliseconds: a fast link then wakes the process once a millisecond, not once a chunk.
    const wait = time > now ? Effect.sleep(Math.ceil(time - now)) : Effect.yieldNow
    mine.fiber = fork(
      Effect.andThen(
        wait,
        Effect.sync(() => {
          if (timer === mine) run()
        })
      )
    )
  }

  const run = () => {
    timer = undefined
    const now = Monotonic.nowUnsafe(clock)
    const before = order
    // What these actions schedule waits for the next turn, even when it is due.
    while (!ended && heap.length > 0 && heap[0]!.time <= now && heap[0]!.order < before)
      Heap.pop(heap, isBefore)!.action()
    arm()
  }

  yield* Effect.addFinalizer(() =>
    Effect.sync(() => {
      ended = true
      heap.length = 0
      timer?.fiber?.interruptUnsafe()
    })
  )

  return {
    nowUnsafe: () => Monotonic.nowUnsafe(clock),
    scheduleUnsafe: (time, action) => {
      if (ended) return
      Heap.push(heap, { time, order: order++, action }, isBefore)
      arm()
    }
  }
})

const isBefore = (a: Entry, b: Entry): boolean => a.time < b.time || (a.time === b.time && a.order < b.order)
