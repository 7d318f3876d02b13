import * as FileSystem from "node:fs/promises"
import * as OperatingSystem from "node:os"
import * as Path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import { TestClock } from "effect/testing"
import { Credentials, CredentialsError } from "../../../src/control/security/Credentials.ts"
import * as NodeCredentials from "../../../src/control/security/provider/node/NodeCredentials.ts"
import type * as PasswordHash from "../../../src/control/security/provider/node/PasswordHash.ts"
import * as Secret from "../../../src/control/security/Secret.ts"

const cheap = { ln: 4, r: 8, p: 1 }
const password = "correct horse"

const open = (directory: string, cost: PasswordHash.Cost = cheap) =>
  Effect.map(Layer.build(Layer.fresh(NodeCredentials.layer({ directory, cost }))), (it) => Context.get(it, Credentials))

const test = (name: string, program: (directory: string) => Effect.Effect<void, unknown, Scope.Scope>) =>
  it.effect(name, () =>
    Effect.acquireUseRelease(
      Effect.promise(() => FileSystem.mkdtemp(Path.join(OperatingSystem.tmpdir(), "piecewise-credentials-"))),
      (folder) => Effect.scoped(program(Path.join(folder, "state"))),
      (folder) => Effect.promise(() => FileSystem.rm(folder, { recursive: true }))
    )
  )

const failure = <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.flip(effect)

describe("the token", () => {
  test("is made once and stays", (directory) =>
    Effect.gen(function* () {
      const token = (credentials: Credentials["Service"]) => Redacted.value(credentials.token)
      const made = yield* Effect.all([open(directory), open(directory), open(directory)], { concurrency: "unbounded" })
      assert.equal(new Set(made.map(token)).size, 1)
      assert.isTrue(Secret.isSecret(token(made[0])))
      assert.equal(token(yield* open(directory)), token(made[0]))
      const { mode } = yield* Effect.promise(() => FileSystem.stat(Path.join(directory, "token")))
      assert.equal(mode & 0o777, 0o600)
    }))

  test("is recognized, and nothing else is", (directory) =>
    Effect.gen(function* () {
      const { isToken, token } = yield* open(directory)
      const text = Redacted.value(token)
      assert.isTrue(isToken(text))
      for (const other of ["", text.slice(1), `${text}A`, text.toLowerCase(), `${text}\n`])
        assert.isFalse(isToken(other))
      assert.notInclude(JSON.stringify(token), text)
    }))

  test("is refused if its file is not a token, or others can read it", (directory) =>
    Effect.gen(function* () {
      const path = Path.join(directory, "token")
      yield* open(directory)
      yield* Effect.promise(() => FileSystem.chmod(path, 0o644))
      const open644 = yield* failure(open(directory))
      assert.match(open644.message, /token cannot be used: other users may read or change it: run chmod 600/)
      yield* Effect.promise(() => FileSystem.chmod(path, 0o600))
      for (const text of ["", "short", "a".repeat(44)]) {
        yield* Effect.promise(() => FileSystem.writeFile(path, text))
        assert.match((yield* failure(open(directory))).message, /has no token: remove it/)
      }
    }))
})

describe("the password", () => {
  test("is none until it is set, and stays after that", (directory) =>
    Effect.gen(function* () {
      const credentials = yield* open(directory)
      assert.isFalse((yield* credentials.password).isSet)
      assert.isFalse(yield* credentials.isPassword(""))
      yield* credentials.setPassword(password)
      for (const opened of [credentials, yield* open(directory)]) {
        assert.isTrue((yield* opened.password).isSet)
        assert.isTrue(yield* opened.isPassword(password))
        assert.isFalse(yield* opened.isPassword(`${password} `))
        assert.isFalse(yield* opened.isPassword(password.toUpperCase()))
      }
      const line = yield* Effect.promise(() => FileSystem.readFile(Path.join(directory, "password"), "utf8"))
      assert.match(line, /^\$scrypt\$/)
      yield* credentials.removePassword
      assert.isFalse((yield* credentials.password).isSet)
      assert.isFalse(yield* credentials.isPassword(password))
    }))

  test("is the same in each form of its characters", (directory) =>
    Effect.gen(function* () {
      const { isPassword, setPassword } = yield* open(directory)
      yield* setPassword("Ångström ①")
      assert.isTrue(yield* isPassword("A\u030angstro\u0308m 1"))
    }))

  test("cannot be short or endless", (directory) =>
    Effect.gen(function* () {
      const { isPassword, setPassword } = yield* open(directory)
      assert.match((yield* failure(setPassword("1234567"))).message, /fewer than 8 characters/)
      assert.match((yield* failure(setPassword("a".repeat(1_025)))).message, /longer than 1024 bytes/)
      yield* setPassword("a".repeat(1_024))
      assert.isFalse(yield* isPassword("a".repeat(1_025)))
    }))

  test("is there at once when another process sets the first one", (directory) =>
    Effect.gen(function* () {
      const [credentials, other] = [yield* open(directory), yield* open(directory)]
      assert.isFalse((yield* credentials.password).isSet)
      yield* other.setPassword(password)
      assert.isTrue((yield* credentials.password).isSet)
    }))

  test("has another revision after each change, also by another process", (directory) =>
    Effect.gen(function* () {
      const [credentials, other] = [yield* open(directory), yield* open(directory)]
      const revision = Effect.map(credentials.password, (it) => it.revision)
      const before = yield* revision
      yield* credentials.setPassword(password)
      const set = yield* revision
      assert.notEqual(set, before)
      assert.isTrue(yield* credentials.isPassword(password))
      assert.equal(yield* revision, set)

      yield* other.setPassword("another one")
      // What is remembered of the old one is of no use.
      assert.isFalse(yield* credentials.isPassword(password))
      assert.isTrue(yield* credentials.isPassword("another one"))
      const changed = yield* revision
      assert.notEqual(changed, set)

      yield* other.removePassword
      assert.isTrue((yield* credentials.password).isSet)
      yield* TestClock.adjust("1 second")
      assert.isFalse((yield* credentials.password).isSet)
      assert.notEqual(yield* revision, changed)
    }))

  test("is not known while its file cannot be used", (directory) =>
    Effect.gen(function* () {
      const credentials = yield* open(directory)
      yield* credentials.setPassword(password)
      const path = Path.join(directory, "password")
      yield* Effect.promise(() => FileSystem.chmod(path, 0o644))
      assert.instanceOf(yield* failure(credentials.isPassword(password)), CredentialsError)
      yield* TestClock.adjust("1 second")
      assert.instanceOf(yield* failure(credentials.password), CredentialsError)
      yield* Effect.promise(async () => {
        await FileSystem.chmod(path, 0o600)
        await FileSystem.writeFile(path, "correct horse")
      })
      assert.match((yield* failure(credentials.isPassword(password))).message, /set the password again/)
    }))

  test("is checked once for all who ask at the same time, and then remembered for five minutes", (directory) =>
    Effect.gen(function* () {
      const { isPassword, setPassword } = yield* open(directory)
      yield* setPassword(password)
      const all = yield* Effect.all(
        Array.from({ length: 100 }, () => isPassword(password)),
        { concurrency: "unbounded" }
      )
      assert.deepEqual(all, Array(100).fill(true))

      // Eight checks wait, so only what is remembered is answered.
      const waiting = yield* Effect.forEach(Array.from({ length: 8 }), (_, index) =>
        Effect.forkChild(isPassword(`guess number ${index}`), { startImmediately: true })
      )
      assert.isTrue(yield* isPassword(password))
      yield* Fiber.joinAll(waiting)
      yield* TestClock.adjust("5 minutes")
      assert.isTrue(yield* isPassword(password))
    }))

  test("fault 102: is not looked at while too many others are, and nobody's check ends with its client", (directory) =>
    Effect.gen(function* () {
      const { isPassword, setPassword } = yield* open(directory, { ln: 14, r: 8, p: 1 })
      yield* setPassword(password)
      const guesses = Array.from({ length: 50 }, (_, index) =>
        Effect.match(isPassword(`guess number ${index}`), {
          onSuccess: () => "wrong",
          onFailure: (error) => error._tag
        })
      )
      const answers = yield* Effect.all(guesses, { concurrency: "unbounded" })
      assert.deepEqual(new Set(answers), new Set(["wrong", "piecewise/PasswordsBusy"]))

      const [first, second] = yield* Effect.all([
        Effect.forkChild(isPassword(password), { startImmediately: true }),
        Effect.forkChild(isPassword(password), { startImmediately: true })
      ])
      yield* Fiber.interrupt(first)
      assert.isTrue(yield* Fiber.join(second))
    }))
})
