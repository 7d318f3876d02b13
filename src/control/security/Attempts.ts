/**
 * Checks passwords and tokens that clients send, as often as their addresses may fail (`Failures.ts`).
 *
 * The right token is always accepted. A password is not looked at while its address is locked, not even the right one:
 * otherwise the answers would tell it from a wrong one.
 */
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Monotonic from "../../base/Monotonic.ts"
import { Credentials } from "./Credentials.ts"
import * as Failures from "./Failures.ts"
import { TooManyFailures, Unauthenticated } from "./Refused.ts"

type Refusal = Unauthenticated | TooManyFailures

/** Checks what clients send. */
export class Attempts extends Context.Service<
  Attempts,
  {
    /** Succeeds if a text from an address is the token. */
    readonly token: (text: string, address: string) => Effect.Effect<void, Refusal>
    /** Succeeds if a text from an address is the password. */
    readonly password: (text: string, address: string) => Effect.Effect<void, Refusal>
  }
>()("piecewise/control/security/Attempts") {}

const tooMany = (waitMillis: number) => {
  const retryAfterSeconds = Math.max(1, Math.ceil(waitMillis / 1_000))
  return new TooManyFailures({
    message: `Too many wrong passwords or tokens came from this address. Try again in ${retryAfterSeconds} s.`,
    retryAfterSeconds
  })
}

/** How long a client waits if too many passwords are being checked (seconds): about as long as those take. */
const busySeconds = 5

const busy = () =>
  new TooManyFailures({
    message: `Too many passwords are being checked. Try again in ${busySeconds} s.`,
    retryAfterSeconds: busySeconds
  })

const wrong = (what: "password" | "token") =>
  new Unauthenticated({ message: `The ${what} is wrong. The token is in the state folder of the service.` })

const unchecked = () =>
  new Unauthenticated({ message: "The password cannot be checked. The log of the service says why." })

const make = Effect.gen(function* () {
  const credentials = yield* Credentials
  const failures = Failures.make()

  const begin = (address: string) =>
    Effect.flatMap(Monotonic.now, (now) => {
      const wait = Failures.begin(failures, address, now)
      return wait > 0 ? Effect.fail(tooMany(wait)) : Effect.void
    })

  const end = (address: string, hasFailed: boolean) =>
    Effect.map(Monotonic.now, (now) => Failures.end(failures, address, hasFailed, now))

  const failed = (what: "password" | "token", address: string) =>
    Effect.andThen(Effect.logWarning(`A wrong ${what} came from ${address}.`), Effect.fail(wrong(what)))

  return Attempts.of({
    token: Effect.fnUntraced(function* (text, address) {
      if (credentials.isToken(text)) return
      yield* begin(address)
      yield* end(address, true)
      return yield* failed("token", address)
    }),
    password: (text, address) =>
      // What is reserved must be given back, even if the client goes away.
      Effect.uninterruptibleMask((restore) =>
        Effect.gen(function* () {
          yield* begin(address)
          const isRight = yield* restore(credentials.isPassword(text)).pipe(
            // A client that does not wait for the answer has made the service work all the same.
            Effect.onError((cause) => end(address, Cause.hasInterrupts(cause))),
            Effect.catchTags({
              "piecewise/PasswordsBusy": () => Effect.fail(busy()),
              "piecewise/CredentialsError": ({ message }) =>
                Effect.andThen(Effect.logError(`No password can be checked: ${message}.`), Effect.fail(unchecked()))
            })
          )
          yield* end(address, !isRight)
          return isRight ? undefined : yield* failed("password", address)
        })
      )
  })
})

/** Counts failures in memory. */
export const layer: Layer.Layer<Attempts, never, Credentials> = Layer.effect(Attempts, make)
