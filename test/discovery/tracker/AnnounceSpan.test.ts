import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import type { InfoHash } from "../../../src/base/InfoHash.ts"
import * as AnnounceSpan from "../../../src/discovery/tracker/AnnounceSpan.ts"
import type { AnnounceResponse } from "../../../src/discovery/tracker/Tracker.ts"
import { Tracker, TrackerError } from "../../../src/discovery/tracker/Tracker.ts"
import * as Observed from "../../telemetry/observed.ts"

const passkey = "9f8e7d6c5b4a"
const url = `https://me:${passkey}@t.example:8443/${passkey}/announce?passkey=${passkey}`

const request = {
  infoHash: new Uint8Array(20).fill(0xab) as InfoHash,
  peerId: new Uint8Array(20),
  port: 6_881,
  uploaded: 0,
  downloaded: 0,
  left: 1,
  event: "started",
  numWant: 100,
  key: 1,
  trackerId: undefined
} as const

/** Announces to a tracker that answers with `reply`, and returns what came of it and the span. */
const announce = (reply: Effect.Effect<AnnounceResponse, TrackerError>) =>
  Effect.gen(function* () {
    const { spans, within } = Observed.make()
    const tracker = Tracker.of({ announce: () => reply, scrape: () => Effect.die("not asked") })
    const fiber = yield* Effect.forkChild(within(AnnounceSpan.trace(url, request, tracker)), {
      startImmediately: true
    })
    if (spans[0]?.status._tag === "Started") yield* Fiber.interrupt(fiber)
    const exit = yield* Fiber.await(fiber)
    const [span] = spans
    if (span?.status._tag !== "Ended") return assert.fail("the span has not ended")
    return { exit, span, ending: span.status.exit }
  })

describe("the span of an announce", () => {
  it.effect("names the tracker's host and port, the torrent, and how many peers came", () =>
    Effect.gen(function* () {
      const peers = [{ host: "1.2.3.4", port: 80 }]
      const { exit, span } = yield* announce(Effect.succeed({ peers } as unknown as AnnounceResponse))

      assert.isTrue(Exit.isSuccess(exit))
      assert.deepStrictEqual([span.name, span.kind], ["piecewise.announce", "client"])
      assert.deepStrictEqual(Object.fromEntries(span.attributes), {
        "piecewise.info_hash": "ab".repeat(20),
        "piecewise.event": "started",
        "server.address": "t.example",
        "server.port": 8443,
        "piecewise.peers": 1
      })
    })
  )

  it.effect("shows why an announce failed without the URL, and passes the failure on as it was", () =>
    Effect.gen(function* () {
      const error = new TrackerError({ url, why: `refused: unknown passkey ${passkey}` })

      const { ending, exit, span } = yield* announce(Effect.fail(error))

      assert.strictEqual(Option.getOrUndefined(Exit.findErrorOption(exit)), error)
      assert.isTrue(Exit.isFailure(ending))
      const shown = Exit.isFailure(ending) ? Cause.prettyErrors(ending.cause, { includeCauseInStack: true }) : []
      assert.strictEqual(shown[0]?.message, "refused: unknown passkey ...")
      assert.notInclude(shown.map(({ message, name, stack }) => `${name} ${message} ${stack}`).join(), passkey)
      assert.notInclude(JSON.stringify([...span.attributes]), passkey)
    })
  )

  it.effect("hides a defect of the tracker's layer too", () =>
    Effect.gen(function* () {
      const bug = new Error(`cannot parse ${url}`)

      const { ending, exit } = yield* announce(Effect.die(bug))

      assert.strictEqual(Exit.isFailure(exit) && Cause.squash(exit.cause), bug)
      const shown = Exit.isFailure(ending) ? Cause.prettyErrors(ending.cause, { includeCauseInStack: true }) : []
      assert.notInclude(shown.map(({ message, stack }) => `${message} ${stack}`).join(), passkey)
    })
  )

  it.effect("ends when the announce is interrupted", () =>
    Effect.gen(function* () {
      const { ending, exit } = yield* announce(Effect.never)

      assert.isTrue(Exit.hasInterrupts(exit))
      assert.isTrue(Exit.hasInterrupts(ending))
    })
  )
})
