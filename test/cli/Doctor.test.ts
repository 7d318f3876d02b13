import { readdir } from "node:fs/promises"
import type { AddressInfo } from "node:net"
import { createServer } from "node:net"
import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as Diagnosis from "../../src/cli/Diagnosis.ts"
import * as Doctor from "../../src/cli/Doctor.ts"
import * as FakeDht from "../discovery/dht/fakeDht.ts"
import { eventsOf, folderScoped, runScoped } from "./program.ts"

/** The checks that a run printed, by name. */
const checksOf = (stdout: string) => {
  const [line] = eventsOf(stdout) as unknown as [
    { readonly _tag: string; readonly checks: ReadonlyArray<Diagnosis.Finding> }
  ]
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
      assert.deepStrictEqual(
        (yield* Effect.promise(() => readdir(folder))).filter((name) => name !== "state"),
        []
      )
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

describe("Diagnosis.ofFamily", () => {
  it("says what nodes know of us", () => {
    const found = Diagnosis.ofFamily(
      "DHT IPv4",
      FakeDht.family({ nodes: 12, goodNodes: 9, externalHost: "203.0.113.7", isReachable: true })
    )

    assert.deepInclude(found, {
      state: "works",
      what: "9 nodes answered UDP port 6881; they see us at 203.0.113.7; others reach us",
      advice: undefined
    })
  })

  it("says if the number of the TCP port was in use", () => {
    const ofPort = (listeningAt: number) =>
      Diagnosis.ofFamily("DHT IPv4", FakeDht.family({ nodes: 12, goodNodes: 9 }), listeningAt)

    assert.isUndefined(ofPort(6_881).advice)
    assert.match(ofPort(7_000).advice!, /^another program uses UDP port 7000, .* choose another --port$/)
  })

  it("takes a family without a socket for unknown", () => {
    assert.strictEqual(Diagnosis.ofFamily("DHT IPv6", undefined).state, "unknown")
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
