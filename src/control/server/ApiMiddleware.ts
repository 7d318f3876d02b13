/**
 * What happens around each operation of the API: a request of another form gets the reason, and what changes something
 * is noted with who did it.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as HttpRouter from "effect/http/HttpRouter"
import type { HttpServerResponse } from "effect/http/HttpServerResponse"
import * as HttpApiError from "effect/http-api/HttpApiError"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import type * as Types from "effect/Types"
import * as InfoHash from "../../base/InfoHash.ts"
import { Access, Anybody, Form } from "../api/Access.ts"
import { RequestRefused, TypeNotSupported } from "../api/ApiErrors.ts"
import * as Callers from "../security/Caller.ts"
import { Unauthenticated } from "../security/Refused.ts"
import * as ActionLog from "./ActionLog.ts"

/** What part of a request an error of a schema is about. An answer is not the fault of the client. */
const parts: { readonly [Kind in HttpApiError.HttpApiSchemaError["kind"]]?: string } = {
  Params: "the path",
  Query: "the query",
  Headers: "the headers",
  Payload: "the body"
}

/** Says in a sentence why a request does not have the form that the API describes. */
const refuse = (error: HttpApiError.HttpApiSchemaError) => {
  const part = parts[error.kind]
  if (part === undefined) return Effect.die(error)
  const why = error.cause.message.replaceAll(/\s*\n\s*/g, " ")
  return Effect.fail(new RequestRefused({ message: `${part} cannot be used: ${why}` }))
}

/** An answer that says only in its status that the content type is another one. */
const withReason = (response: HttpServerResponse): Effect.Effect<HttpServerResponse, TypeNotSupported> =>
  response.status === 415
    ? Effect.fail(new TypeNotSupported({ message: "The body has another content type than this operation takes." }))
    : Effect.succeed(response)

/** A request has the form that the API describes, or gets the reason. */
export const form: Layer.Layer<Form> = Layer.succeed(Form, (handling) =>
  Effect.flatMap(
    Effect.catch(
      handling,
      (error): Effect.Effect<never, Types.unhandled | RequestRefused> =>
        HttpApiError.HttpApiSchemaError.is(error) ? refuse(error) : Effect.fail(error)
    ),
    withReason
  )
)

/** Methods of operations that change nothing. */
const reading: ReadonlySet<string> = new Set(["GET", "HEAD", "OPTIONS"])

/** The tag of what a handler fails with, which is within another error for middleware that checks credentials. */
const tagOf = (error: unknown): string => {
  if (Predicate.hasProperty(error, "_tag") && typeof error._tag === "string") return error._tag
  return Predicate.hasProperty(error, "error") ? tagOf(error.error) : "Unknown"
}

/** How an action failed, in one word: the `_tag` of its error. */
const failureOf = (cause: Cause.Cause<unknown>): string =>
  Option.match(Cause.findErrorOption(cause), {
    onNone: () => (Cause.hasInterruptsOnly(cause) ? "Interrupted" : "Defect"),
    onSome: tagOf
  })

/** Operations that need credentials, so that nobody may ask for them without. What changes something is noted. */
export const access: Layer.Layer<Access, never, ActionLog.ActionLog> = Layer.effect(
  Access,
  Effect.map(ActionLog.ActionLog, ({ record }) => {
    const around: Access["Service"]["token"] = Effect.fnUntraced(function* (handling, { endpoint, group }) {
      const { _tag, address } = yield* Callers.current
      if (_tag === "Nobody") return yield* new Unauthenticated({ message: "This needs credentials." })
      if (reading.has(endpoint.method)) return yield* handling
      const { infoHash = "" } = yield* HttpRouter.params
      const operation = `${group.identifier}.${endpoint.identifier}`
      return yield* ActionLog.withSubject(InfoHash.fromHex(infoHash), (subject) =>
        Effect.onExit(handling, (exit) => {
          const failure = Exit.isSuccess(exit) ? undefined : failureOf(exit.cause)
          return record({ caller: _tag, address, operation, infoHash: subject.infoHash, failure })
        })
      )
    })
    return { token: around, session: around }
  })
)

/** Operations that anybody may ask for. */
export const anybody: Layer.Layer<Anybody> = Layer.succeed(Anybody, (handling) =>
  Effect.flatMap(Callers.current, (found) => Effect.provideService(handling, Callers.Caller, found))
)
