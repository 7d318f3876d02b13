import { watch } from "node:fs"
import { readdir } from "node:fs/promises"
import type { AddressInfo } from "node:net"
import { createServer } from "node:net"
import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber } from "effect"
import * as TestClock from "effect/testing/TestClock"
import * as Diagnosis from "../../src/cli/Diagnosis.ts"
import * as Doctor from "../../src/cli/Doctor.ts"
import type { Finding } from "../../src/cli/Finding.ts"
import { eventsOf, folderScoped, runScoped, startScoped } from "./program.ts"

/** The checks that a run printed, by name. */
const checksOf = (stdout: string) => {
  const [line] = eventsOf(stdout) as unknown as [{ readonly _tag: string; readonly checks: ReadonlyArray<Finding> }]
  assert.strictEqual(line._tag, "Diagnosed")
  return new Map(line.checks.map((check) => [check.name, check]))
}

describe("piecewise doctor", () => {
  it.live("says in ten lines what works, within 15 seconds, offline, and leaves nothing", () =>
    Effect.gen(function* () {
      const folder = yield* folderScoped
      const ended = yield* runScoped(["doctor", "-o", path.join(folder, "not", "yet")], folder, {
        XDG_STATE_HOME: path.join(folder, "state")
      })

      const lines = ended.stdout.trimEnd().split("\n")
      assert.strictEqual(ended.code, 0, ended.stderr + ended.stdout)
      assert.isAtMost(lines.length, 10)
      assert.isBelow(ended.millis, 17_000)
      assert.match(lines[0]!, /^ok {7}listening {3}peers can connect to TCP port \d+ of this machine$/)
      assert.match(ended.stdout, /^unknown {2}incoming {3}/m)
      assert.match(ended.stdout, /^ok {7}UDP /m)
      assert.match(ended.stdout, /^unknown {2}DHT IPv4 .*PIECEWISE_OFFLINE is set$/m)
      assert.match(ended.stdout, /^ok {7}encryption {2}connections to peers are encrypted if the peer can do so$/m)
      assert.match(ended.stdout, /^ok {7}disk /m)
      assert.match(ended.stdout, /^ok {7}flush /m)
      assert.strictEqual(ended.stderr, "")
      assert.deepStrictEqual(yield* Effect.promise(() => readdir(folder)), [])
    })
  )

  it.live.each([
    ["SIGINT", 130],
    ["SIGTERM", 130],
    ["SIGKILL", null]
  ] as const)("leaves nothing in the folder if %s ends it while it writes there", ([signal, code]) =>
    Effect.gen(function* () {
      const folder = yield* folderScoped
      const state = yield* folderScoped
      const { child, ended } = yield* startScoped(["doctor", "-o", folder], state, { XDG_STATE_HOME: state })
      let changes = 0
      const watcher = watch(folder).on("change", () => {
        // The first one is that there is a file.
        if (++changes < 2) return
        watcher.close()
        child.kill(signal)
      })

      const end = yield* Effect.promise(() => ended)

      assert.strictEqual(end.code, code)
      assert.deepStrictEqual(yield* Effect.promise(() => readdir(folder)), [])
    })
  )

  it.live("fails if something does not work, and says what to do about it", () =>
    Effect.gen(function* () {
      const folder = yield* folderScoped
      const server = yield* Effect.acquireRelease(
        Effect.promise(
          () =>
            new Promise<ReturnType<typeof createServer>>((resolve) => {
              const made = createServer().listen(0, "127.0.0.1", () => resolve(made))
            })
        ),
        (made) => Effect.sync(() => made.close())
      )
      const { port } = server.address() as AddressInfo
      const file = path.join(import.meta.dirname, "Doctor.test.ts")

      const ended = yield* runScoped(["doctor", "--no-dht", "--port", String(port), "-o", file, "--json"], folder)

      const checks = checksOf(ended.stdout)
      assert.strictEqual(ended.code, 1)
      assert.strictEqual(ended.stderr, "piecewise: 2 checks fail of 10 checks\n")
      assert.deepInclude(checks.get("listening"), { state: "fails", what: `port ${port} is in use` })
      assert.match(checks.get("listening")!.advice!, /--port/)
      assert.deepInclude(checks.get("disk"), { state: "fails" })
      assert.match(checks.get("disk")!.advice!, /--output/)
      assert.deepInclude(checks.get("flush"), { state: "unknown" })
      assert.deepInclude(checks.get("DHT IPv4"), { state: "unknown", what: "not asked, because of --no-dht" })
    })
  )
})

describe("Diagnosis.isOutside", () => {
  it("takes no connection of this machine or its network for one from outside", () => {
    const hosts = ["127.0.0.1", "::1", "192.168.1.7", "100.64.0.9", "fe80::1%eth0", "fd00::1", "203.0.113.7", "2600::7"]

    assert.deepStrictEqual(
      hosts.filter((host) => Diagnosis.isOutside({ host, port: 1 })),
      ["203.0.113.7", "2600::7"]
    )
  })
})

describe("Doctor.linesOf", () => {
  it("aligns the names, and cleans what comes from elsewhere", () => {
    assert.deepStrictEqual(
      Doctor.linesOf([
        { name: "UDP", state: "works", what: "it works", advice: undefined },
        { name: "listening", state: "fails", what: "in \u001b[31muse", advice: "choose another" }
      ]),
      ["ok       UDP        it works", "FAILS    listening  in \ufffd[31muse; choose another"]
    )
  })
})

describe("Diagnosis.incoming", () => {
  const address = { host: "::", port: 6_881 }

  it("advises to open the port only if others can be there", () => {
    const lan = Diagnosis.incoming(undefined, address, ["192.168.1.5"])
    const none = Diagnosis.incoming(undefined, address, [])
    const here = Diagnosis.incoming(undefined, { ...address, host: "127.0.0.1" }, ["192.168.1.5"])

    assert.match(lan.advice!, /open TCP port 6881/)
    assert.deepInclude(none, { state: "unknown", what: "this machine is in no network", advice: undefined })
    assert.deepInclude(here, { state: "unknown", advice: undefined })
  })
})

describe("Diagnosis.within", () => {
  it.effect("does not wait for a check that cannot be interrupted", () =>
    Effect.gen(function* () {
      const hung = Effect.uninterruptible(Effect.never)
      const checking = yield* Effect.forkChild(Diagnosis.within(hung, "disk", "flush"))

      yield* TestClock.adjust(Diagnosis.timeout)
      const found = yield* Fiber.join(checking)

      assert.deepStrictEqual(
        found.map(({ name, state }) => [name, state]),
        [
          ["disk", "unknown"],
          ["flush", "unknown"]
        ]
      )
    })
  )

  it.effect("lets a check clean up before an interruption goes on", () =>
    Effect.gen(function* () {
      let isClean = false
      const clean = Effect.andThen(
        Effect.sleep("1 second"),
        Effect.sync(() => {
          isClean = true
        })
      )
      const check = Effect.ensuring(Effect.never, clean)
      const checking = yield* Effect.forkChild(Diagnosis.within(check), { startImmediately: true })
      yield* TestClock.adjust("1 second")

      const interrupting = yield* Effect.forkChild(Fiber.interrupt(checking))
      yield* TestClock.adjust("1 second")
      yield* Fiber.join(interrupting)

      assert.isTrue(isClean)
    })
  )
})
