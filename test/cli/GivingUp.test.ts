import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as TestClock from "effect/testing/TestClock"
import type { CommandFailed } from "../../src/cli/CommandFailed.ts"
import * as GivingUp from "../../src/cli/GivingUp.ts"
import type { TorrentStatus } from "../../src/torrent/TorrentStatus.ts"

const giveUp = { text: "1m", millis: 60_000 }

/** Watches a download whose state and stored bytes the test sets. */
const watching = Effect.gen(function* () {
  const status = { state: { _tag: "Downloading" }, bottleneck: { _tag: "NobodyKnown" }, storedBytes: 7 }
  const set = (change: { readonly state?: TorrentStatus["state"]; readonly storedBytes?: number }) => {
    Object.assign(status, change)
  }
  let failure: string | undefined
  yield* GivingUp.watch(
    Effect.sync(() => status as TorrentStatus),
    giveUp
  ).pipe(
    Effect.catch((error: CommandFailed) =>
      Effect.sync(() => {
        failure = error.why
      })
    ),
    Effect.forkScoped({ startImmediately: true })
  )
  return { set, why: () => failure }
})

describe("GivingUp", () => {
  it.effect("fails when no piece was completed for the time, and says why", () =>
    Effect.gen(function* () {
      const { why } = yield* watching

      yield* TestClock.adjust("59 seconds")
      const early = why()
      yield* TestClock.adjust("1 second")

      assert.isUndefined(early)
      assert.strictEqual(
        why(),
        "no piece was completed for 1m, so the download ends: no peers found yet. Run it again to go on"
      )
    })
  )

  it.effect("counts from the last piece, and not while pieces are verified, flushed or complete", () =>
    Effect.gen(function* () {
      const { set, why } = yield* watching
      const found: Array<boolean> = []
      const pass = Effect.gen(function* () {
        yield* TestClock.adjust("50 seconds")
        found.push(why() !== undefined)
      })

      yield* pass
      set({ storedBytes: 8 })
      yield* pass
      for (const _tag of ["Checking", "Flushing", "Complete"] as const) {
        set({ state: { _tag } })
        yield* pass
        yield* pass
      }
      set({ state: { _tag: "Downloading" } })
      yield* pass
      // A piece that was lost is no progress.
      set({ storedBytes: 3 })
      yield* pass

      assert.deepStrictEqual(found, [...Array(9).fill(false), true])
    })
  )

  it.effect("bounds the wait for the metadata of a magnet link", () =>
    Effect.gen(function* () {
      const fiber = yield* Effect.forkChild(Effect.flip(GivingUp.bound(Effect.never, giveUp, () => "why")), {
        startImmediately: true
      })

      yield* TestClock.adjust("1 minute")

      assert.strictEqual((yield* Fiber.join(fiber)).why, "no peer sent the metadata for 1m, so it ends: why")
    })
  )
})
