import * as ChildProcess from "node:child_process"
import * as NFS from "node:fs"
import * as Path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Redacted from "effect/Redacted"
import * as Schedule from "effect/Schedule"
import * as Scope from "effect/Scope"
import { IoDaemon } from "../../src/io-daemon/IoDaemon.ts"
import * as IoDaemonProcess from "../../src/io-daemon/node/IoDaemonProcess.ts"
import { temporaryFolder } from "../storage/disk.ts"
import * as Daemon from "./daemon.ts"

/** A program that runs a shell script; each run appends its process number to `pids` as a line. */
const scripted = Effect.fnUntraced(function* (body: string) {
  const folder = yield* temporaryFolder
  const program = Path.join(folder, "daemon")
  const pids = Path.join(folder, "pids")
  NFS.writeFileSync(program, `#!/bin/sh\necho $$ >> '${pids}'\n${body}\n`, { mode: 0o755 })
  return { folder, program, pids: () => NFS.readFileSync(pids, "utf8").trim().split("\n").map(Number) }
})

const isAlive = (pid: number): boolean => {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}

/** Reports that it listens on a port, and waits for the end of its input. */
const serving = `read token; echo '{"port":4710,"version":"0.0.0"}'; cat > /dev/null`

/** Waits, a few milliseconds at a time, until something holds. */
const until = <E, R>(holds: Effect.Effect<boolean, E, R>) =>
  Effect.flatMap(holds, (yes) => (yes ? Effect.void : Effect.fail("not yet"))).pipe(
    Effect.retry(Schedule.spaced("5 millis")),
    Effect.orDie
  )

/** A process that keeps a daemon running, until the scope closes. */
const parentOf = (source: string, program: string) =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const text = `
        import * as Effect from "effect/Effect"
        import * as IoDaemonProcess from ${JSON.stringify(source)}
        const program = IoDaemonProcess.make({ program: ${JSON.stringify(program)}, roots: {} })
        Effect.runFork(Effect.scoped(Effect.andThen(program, Effect.sync(() => console.log("started")).pipe(Effect.andThen(Effect.never)))))
      `
      const child = ChildProcess.spawn(process.execPath, ["--input-type=module", "--eval", text], {
        cwd: import.meta.dirname
      })
      let output = ""
      child.stdout.setEncoding("utf8").on("data", (chunk: string) => {
        output += chunk
      })
      return { output: () => output, kill: () => child.kill("SIGKILL") }
    }),
    ({ kill }) => Effect.sync(() => void kill())
  )

const whyNot = (program: string) =>
  Effect.map(Effect.flip(Effect.scoped(IoDaemonProcess.make({ program, roots: {} }))), ({ why }) => why)

describe("IoDaemonProcess", () => {
  it.live("returns the endpoint of a started daemon, and ends it with the scope", () =>
    Effect.gen(function* () {
      const { pids, program } = yield* scripted(serving)
      const scope = yield* Scope.make()

      const daemon = yield* Scope.provide(IoDaemonProcess.make({ program, roots: {} }), scope)
      const { token, url } = yield* daemon.endpoint
      const before = pids().map(isAlive)
      yield* Scope.close(scope, Exit.void)

      assert.strictEqual(url, "http://127.0.0.1:4710")
      assert.match(Redacted.value(token), /^[A-Za-z0-9_-]{43}$/)
      assert.deepStrictEqual([before, pids().map(isAlive)], [[true], [false]])
    })
  )

  it.live("fault 67: passes the token on standard input, not in arguments or in the environment", () =>
    Effect.gen(function* () {
      const { folder, program } = yield* scripted(
        `read token; echo "$token" > "$0.token"; echo "$@" > "$0.args"; env > "$0.env"
echo '{"port":1,"version":""}'; cat > /dev/null`
      )
      const roots = { downloads: "/srv/a b" }

      const daemon = yield* IoDaemonProcess.make({ program, roots, allowOrigins: ["https://a.example"] })
      const { token } = yield* daemon.endpoint

      const read = (name: string) => NFS.readFileSync(Path.join(folder, `daemon.${name}`), "utf8")
      const secret = Redacted.value(token)
      assert.strictEqual(read("token").trim(), secret)
      assert.strictEqual(read("args").trim(), "--port=0 --root=downloads=/srv/a b --allow-origin=https://a.example")
      assert.notInclude(read("env"), secret)
    }).pipe(Effect.scoped)
  )

  it.live("restarts a daemon that dies, with a new token", () =>
    Effect.gen(function* () {
      const { pids, program } = yield* scripted(serving)
      const daemon = yield* IoDaemonProcess.make({ program, roots: {} })
      const first = yield* daemon.endpoint

      process.kill(pids()[0]!, "SIGKILL")
      yield* until(Effect.map(daemon.endpoint, ({ token }) => token !== first.token))

      assert.strictEqual(pids().length, 2)
    }).pipe(Effect.scoped)
  )

  it.live("lets a restarted daemon make no root, which may be on a drive that is away", () =>
    Effect.gen(function* () {
      const { folder, pids, program } = yield* scripted(`echo "$@" >> "$0.args"; ${serving}`)
      const daemon = yield* IoDaemonProcess.make({ program, roots: { downloads: "/srv" } })
      const first = yield* daemon.endpoint

      process.kill(pids()[0]!, "SIGKILL")
      yield* until(Effect.map(daemon.endpoint, ({ token }) => token !== first.token))

      const args = NFS.readFileSync(Path.join(folder, "daemon.args"), "utf8").trim().split("\n")
      assert.deepStrictEqual(args, ["--port=0 --root=downloads=/srv", "--port=0 --root=downloads=/srv --known-roots"])
    }).pipe(Effect.scoped)
  )

  it.live("reports to its callers why a daemon could not be restarted, and keeps trying", () =>
    Effect.gen(function* () {
      const { folder, pids, program } = yield* scripted(
        `if [ -e "$0.broken" ]; then echo 'the port is in use' >&2; exit 2; fi; ${serving}`
      )
      const broken = Path.join(folder, "daemon.broken")
      const daemon = yield* IoDaemonProcess.make({ program, roots: {} })
      yield* daemon.endpoint

      NFS.writeFileSync(broken, "")
      process.kill(pids()[0]!, "SIGKILL")
      yield* until(Effect.sync(() => pids().length > 1))
      const error = yield* Effect.flip(daemon.endpoint)
      NFS.rmSync(broken)
      yield* until(Effect.isSuccess(daemon.endpoint))

      assert.strictEqual(error.message, "the io-daemon is not there: the port is in use")
    }).pipe(Effect.scoped)
  )

  it.live("restarts a daemon that dies at once ever more rarely", () =>
    Effect.gen(function* () {
      const { pids, program } = yield* scripted(`echo '{"port":4710,"version":""}'; exit 1`)
      yield* IoDaemonProcess.make({ program, roots: {} })

      yield* Effect.sleep("700 millis")

      // At 0, 50, 150, 350 and 750 ms, plus the time that a start takes.
      assert.isAtLeast(pids().length, 3)
      assert.isAtMost(pids().length, 5)
    }).pipe(Effect.scoped)
  )

  it.live("kills a daemon that does not end when it is asked to", () =>
    Effect.gen(function* () {
      const { pids, program } = yield* scripted(
        `trap '' TERM; echo '{"port":1,"version":""}'; while true; do sleep 0.1; done`
      )

      yield* Effect.scoped(IoDaemonProcess.make({ program, roots: {} }))

      assert.deepStrictEqual(pids().map(isAlive), [false])
    })
  )

  it.live("says in one sentence why there is no daemon", () =>
    Effect.gen(function* () {
      const complaining = yield* scripted("echo 'no such root' >&2; exit 2")
      const silent = yield* scripted("exit 3")
      const talking = yield* scripted("echo hello; exit 0")

      assert.strictEqual(yield* whyNot("/none/daemon"), "it could not be started: /none/daemon (ENOENT)")
      assert.strictEqual(yield* whyNot(complaining.program), "no such root")
      assert.strictEqual(yield* whyNot(silent.program), "it ended with 3")
      assert.strictEqual(yield* whyNot(talking.program), "it ended with 0")
    }).pipe(Effect.scoped)
  )

  Daemon.live("IoDaemonProcess", () => {
    it.live("the real daemon ends when its parent is killed", () =>
      Effect.gen(function* () {
        const { program, pids } = yield* scripted(`exec '${Daemon.program}' "$@"`)
        const source = Path.resolve(import.meta.dirname, "../../src/io-daemon/node/IoDaemonProcess.ts")
        const parent = yield* parentOf(source, program)
        yield* until(Effect.sync(() => parent.output().includes("started")))

        parent.kill()
        yield* until(Effect.sync(() => !pids().some(isAlive)))
      }).pipe(Effect.scoped)
    )

    it.live("the real daemon answers only with the token", () =>
      Effect.gen(function* () {
        const { token, url } = yield* (yield* IoDaemon).endpoint
        const ask = (secret: string) =>
          Effect.promise(() => fetch(`${url}/v1/control/ping`, { method: "POST", headers: { authorization: secret } }))

        assert.strictEqual((yield* ask(`Bearer ${Redacted.value(token)}`)).status, 204)
        assert.strictEqual((yield* ask("Bearer 0123456789abcdef")).status, 401)
      }).pipe(Effect.scoped, Effect.provide(Daemon.layer()))
    )
  })
})
