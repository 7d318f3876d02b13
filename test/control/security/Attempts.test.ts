import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import { Attempts, layer } from "../../../src/control/security/Attempts.ts"
import { Credentials, CredentialsError, PasswordsBusy } from "../../../src/control/security/Credentials.ts"
import * as Service from "./serving.ts"

const address = "192.0.2.1"

/** Runs a program with attempts that check passwords in another way than `Service.credentials`. */
const withCheck = <A, E, R>(
  isPassword: Credentials["Service"]["isPassword"],
  program: (attempts: Attempts["Service"]) => Effect.Effect<A, E, R>
) => {
  const changed = Layer.effect(
    Credentials,
    Credentials.useSync((credentials) => ({ ...credentials, isPassword }))
  ).pipe(Layer.provide(Service.credentials()))
  return Effect.provide(Attempts.use(program), layer.pipe(Layer.provide(changed)))
}

describe("Attempts", () => {
  it.effect("say that the service is busy, which is no failure", () =>
    withCheck(
      () => Effect.fail(new PasswordsBusy()),
      ({ password }) =>
        Effect.gen(function* () {
          for (let index = 0; index < 20; index++) {
            const error = yield* Effect.flip(password("guess", address))
            assert.equal(error._tag, "piecewise/TooManyFailures")
            assert.deepInclude(error, { retryAfterSeconds: 5 })
          }
        })
    )
  )

  it.effect("let nobody in while the password cannot be read, which is no failure", () =>
    withCheck(
      () => Effect.fail(new CredentialsError({ path: "/x", why: "permission was denied" })),
      ({ password }) =>
        Effect.gen(function* () {
          for (let index = 0; index < 20; index++) {
            const error = yield* Effect.flip(password(Service.password, address))
            assert.equal(error._tag, "piecewise/Unauthenticated")
            assert.notInclude(error.message, "/x")
          }
        })
    )
  )

  it.effect("count a guess whose client goes away before the answer", () =>
    Effect.gen(function* () {
      const never = yield* Deferred.make<boolean>()
      yield* withCheck(
        () => Deferred.await(never),
        ({ password }) =>
          Effect.gen(function* () {
            for (let index = 0; index < 10; index++) {
              yield* Fiber.interrupt(yield* Effect.forkChild(password("guess", address), { startImmediately: true }))
            }
            const error = yield* Effect.flip(password("guess", address))
            assert.deepInclude(error, { _tag: "piecewise/TooManyFailures", retryAfterSeconds: 60 })
          })
      )
    })
  )

  it.effect("accept the right token however many were wrong", () =>
    withCheck(
      () => Effect.succeed(false),
      ({ token }) =>
        Effect.gen(function* () {
          for (let index = 0; index < 11; index++) yield* Effect.flip(token("x", address))
          yield* token(Service.token, address)
        })
    )
  )
})
