/**
 * The contract of what clients prove that they know: the token, which every service has, and the password, which its
 * user may set. A service that listens on more than this machine needs a password (`Listening.ts`).
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"

/** The token or the password cannot be read or written. `why` is the end of a sentence. */
export class CredentialsError extends Schema.TaggedError<CredentialsError>()("piecewise/CredentialsError", {
  path: Schema.String,
  why: Schema.String
}) {
  override get message() {
    return `${this.path} cannot be used: ${this.why}`
  }
}

/** A text cannot be the password. `why` is the end of a sentence. */
export class PasswordNotAllowed extends Schema.TaggedError<PasswordNotAllowed>()(
  "piecewise/PasswordNotAllowed",
  { why: Schema.String },
  { httpApiStatus: 422 }
) {
  override get message() {
    return `this password cannot be set: ${this.why}`
  }
}

/** So many passwords wait to be checked that another one is not looked at. Passes within seconds. */
export class PasswordsBusy extends Schema.TaggedError<PasswordsBusy>()("piecewise/PasswordsBusy", {}) {
  override get message() {
    return "too many passwords wait to be checked"
  }
}

/** What is known of the password. */
export interface PasswordState {
  readonly isSet: boolean
  /** Changes whenever the password does, also if another process changed it. What an old one started then ends. */
  readonly revision: number
}

/** The token and the password of a service. */
export class Credentials extends Context.Service<
  Credentials,
  {
    /** 256 random bits in base64url: 43 characters. The same one after a restart. */
    readonly token: Redacted.Redacted<string>
    /** Whether a text is the token, in constant time. */
    readonly isToken: (text: string) => boolean
    /** The state of the password. It may be a second old if another process changes the password. */
    readonly password: Effect.Effect<PasswordState, CredentialsError>
    /**
     * Whether a text is the password; `false` if none is set. That is made to take time and memory, so one text is
     * checked at a time, and the right one is remembered for some minutes, without its text.
     */
    readonly isPassword: (text: string) => Effect.Effect<boolean, PasswordsBusy | CredentialsError>
    /** Sets the password, which is kept as a hash. */
    readonly setPassword: (text: string) => Effect.Effect<void, PasswordNotAllowed | CredentialsError>
    /** Removes the password: only the token is good then. */
    readonly removePassword: Effect.Effect<void, CredentialsError>
  }
>()("piecewise/control/security/Credentials") {}

/** The state of the password; as after a change, and with none set, if it cannot be read, which is logged. */
export const passwordOf = ({ password }: Credentials["Service"]): Effect.Effect<PasswordState> =>
  Effect.catch(password, ({ message }) =>
    Effect.as(Effect.logError(`The password is not known, so nobody can log in: ${message}.`), unreadable)
  )

const unreadable: PasswordState = { isSet: false, revision: -1 }
