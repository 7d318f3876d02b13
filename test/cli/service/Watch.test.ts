import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Queue, Schema } from "effect"
import { TestClock } from "effect/testing"
import { CommandFailed } from "../../../src/cli/CommandFailed.ts"
import type { Key } from "../../../src/cli/service/Keyboard.ts"
import * as ServiceConnection from "../../../src/cli/service/ServiceConnection.ts"
import * as ServiceLines from "../../../src/cli/service/ServiceLines.ts"
import * as Watch from "../../../src/cli/service/Watch.ts"
import type { TorrentChanges } from "../../../src/control/api/TorrentModel.ts"
import { fakeOutput } from "../program.ts"
import { all, hashOf, MiB, paused, seed, service, torrent } from "./torrents.ts"

const url = new URL("http://127.0.0.1:6880/")

/** A service whose answers are given one after the other, the last one again and again; a text is why there is none. */
const scripted = (answers: ReadonlyArray<TorrentChanges | string>) => {
  const asked: Array<string> = []
  const toggled: Array<string> = []
  /** What the next requests to pause lead to. */
  const pausing: Array<Effect.Effect<void, CommandFailed>> = []
  let connections = 0
  let at = 0
  const note = (what: string) => () =>
    Effect.sync(() => {
      toggled.push(what)
    })
  const client = {
    torrents: {
      changes: ({ query: { since } }: { query: { since: string } }) =>
        Effect.suspend(() => {
          asked.push(since)
          const answer = answers[Math.min(at++, answers.length - 1)]!
          return typeof answer === "string"
            ? Effect.fail(new ServiceConnection.ServiceAway({ why: answer }))
            : Effect.succeed(answer)
        }),
      pause: () => pausing.shift() ?? note("pause")(),
      resume: note("resume")
    },
    service: { status: () => Effect.succeed(service()) }
  } as unknown as ServiceConnection.Client
  const connect: Watch.Connect = (program) =>
    Effect.suspend(() => {
      connections++
      return Effect.mapError(program(client, { url }), (error) =>
        error instanceof CommandFailed ? error : new CommandFailed({ why: error.message })
      )
    })
  return { connect, asked, toggled, pausing, connections: () => connections }
}

const changed = (revision: string, ...torrents: TorrentChanges["torrents"]): TorrentChanges => ({
  revision,
  isAll: false,
  torrents,
  removed: []
})

const decode = Schema.decodeUnknownSync(Schema.toCodecJson(ServiceLines.Line))

const begin = Effect.fnUntraced(function* (
  answers: ReadonlyArray<TorrentChanges | string>,
  options: Partial<Watch.Options> = {}
) {
  const { output, written } = fakeOutput(options.keys !== undefined)
  const scene = scripted(answers)
  const fiber = yield* Effect.forkChild(
    Watch.watch({ output, connect: scene.connect, keys: undefined, asJson: false, ...options })
  )
  yield* TestClock.adjust(0)
  return { ...scene, written, fiber }
})

describe("piecewise watch", () => {
  it.effect("asks each second for what has changed", () =>
    Effect.gen(function* () {
      const { asked, connections } = yield* begin([
        { ...all([torrent("1")]), revision: "a" },
        changed("b"),
        changed("c")
      ])

      assert.deepStrictEqual(asked, [""])
      yield* TestClock.adjust("999 millis")
      assert.deepStrictEqual(asked, [""])
      yield* TestClock.adjust("2001 millis")

      assert.deepStrictEqual(asked, ["", "a", "b", "c"])
      assert.strictEqual(connections(), 1)
    })
  )

  it.effect("fails if no service answers at first", () =>
    Effect.gen(function* () {
      const { fiber } = yield* begin(["no service runs"])

      const error = yield* Effect.flip(Fiber.join(fiber))

      assert.strictEqual(error.message, "no service runs")
    })
  )

  it.effect("writes a line for each state of a torrent to a log, and now and then one of its progress", () =>
    Effect.gen(function* () {
      const { written } = yield* begin([
        all([torrent("1", { name: "a" }), seed("2", { name: "b" })]),
        changed("2", torrent("1", { name: "a", downloadBytesPerSecond: MiB })),
        changed("3", seed("1", { name: "a", uploadBytesPerSecond: 0 })),
        { ...changed("4"), removed: [hashOf("2")] }
      ])
      yield* TestClock.adjust("3 seconds")

      assert.deepStrictEqual(written.printed, [
        "a: downloading, 75.0%, 5.0 MiB/s, 512.0 KiB/s up, 10 s left, 12 peers",
        "b: seeding, 100.0%, 512.0 KiB/s up, 12 peers",
        "a: seeding, 100.0%, 12 peers",
        "20000000: removed (was seeding)"
      ])
    })
  )

  it.effect("writes the progress of a download every ten seconds to a log", () =>
    Effect.gen(function* () {
      const { written } = yield* begin([all([torrent("1"), seed("2")]), changed("2")])
      yield* TestClock.adjust("30 seconds")

      assert.deepStrictEqual(
        written.printed.map((line) => line.split(":")[0]),
        ["torrent 1", "torrent 2", "torrent 1", "torrent 1", "torrent 1"]
      )
    })
  )

  it.effect("writes a line of JSON for each change, and when the service goes and comes", () =>
    Effect.gen(function* () {
      const { asked, connections, written } = yield* begin(
        [
          { ...all([torrent("1")]), revision: "a" },
          changed("b"),
          changed("c", paused("1")),
          "gone",
          "gone",
          { ...changed("d") },
          { ...changed("e"), removed: [hashOf("1")] }
        ],
        { asJson: true }
      )
      yield* TestClock.adjust("6 seconds")

      const lines = written.printed.map((line) => decode(JSON.parse(line), { onExcessProperty: "error" }))
      assert.deepStrictEqual(
        lines.map((line) =>
          line._tag === "Changed"
            ? [line.isAll, line.torrents.length, line.removed.length]
            : [line._tag, line._tag === "Away" && line.why]
        ),
        [
          [true, 1, 0],
          [false, 1, 0],
          ["Away", "gone"],
          [false, 0, 0],
          [false, 0, 1]
        ]
      )
      // What is known is asked for again: another process of the service does not know it, and answers with all.
      assert.deepStrictEqual(asked, ["", "a", "b", "c", "c", "c", "d"])
      assert.strictEqual(connections(), 3)
    })
  )

  it.effect("fills a terminal, until q is pressed", () =>
    Effect.gen(function* () {
      const keys = yield* Queue.unbounded<Key>()
      const { fiber, toggled, written } = yield* begin(
        [all([torrent("1", { name: "first" }), paused("2", { name: "second" })]), changed("2")],
        { keys }
      )
      const last = () => written.pages.at(-1)!.join("\n")

      assert.include(last(), "first")
      Queue.offerUnsafe(keys, "toggle")
      yield* TestClock.adjust(0)
      assert.deepStrictEqual(toggled, [])

      for (const key of ["down", "toggle", "down", "toggle"] as const) Queue.offerUnsafe(keys, key)
      yield* TestClock.adjust(0)
      assert.deepStrictEqual(toggled, ["pause", "resume"])
      assert.include(last(), "> second")

      Queue.offerUnsafe(keys, "quit")
      yield* Fiber.join(fiber)
      assert.deepStrictEqual(written.printed, [])
    })
  )

  it.effect("ends at once while the service has not answered a key, and says why it refused one", () =>
    Effect.gen(function* () {
      const keys = yield* Queue.unbounded<Key>()
      const { fiber, pausing, written } = yield* begin([all([torrent("1")]), changed("2")], { keys })

      pausing.push(Effect.fail(new CommandFailed({ why: "the disk is full" })), Effect.never)
      for (const key of ["down", "toggle"] as const) Queue.offerUnsafe(keys, key)
      yield* TestClock.adjust(0)
      assert.include(written.pages.at(-1)!.join("\n"), "the disk is full")
      for (const key of ["toggle", "quit"] as const) Queue.offerUnsafe(keys, key)

      yield* Fiber.join(fiber)
      assert.notInclude(written.pages.at(-1)!.join("\n"), "the disk is full")
    })
  )

  it.effect("shows that the service is away, and goes on when it is back", () =>
    Effect.gen(function* () {
      const keys = yield* Queue.unbounded<Key>()
      const { written } = yield* begin([all([torrent("1")]), "it is gone", "it is gone", all([torrent("2")])], { keys })
      const last = () => written.pages.at(-1)!.join("\n")

      yield* TestClock.adjust("2 seconds")
      assert.include(last(), "The service is away, and is asked again. it is gone")
      assert.include(last(), "torrent 1")

      yield* TestClock.adjust("1 second")
      assert.notInclude(last(), "away")
      assert.include(last(), "torrent 2")
      assert.notInclude(last(), "torrent 1")
    })
  )
})
