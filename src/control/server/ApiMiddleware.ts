/**
 * What happens around each operation of the API: a request of another form gets the reason, and what changes something
 * is noted with who did it.
 */
import * as Effect from "effect/Effect"
import * as HttpRouter from "effect/http/HttpRouter"
import * as HttpApiMiddleware from "effect/http-api/HttpApiMiddleware"
import * as Layer from "effect/Layer"
import * as Predicate from "effect/Predicate"
import * as InfoHash from "../../base/InfoHash.ts"
import { Access, Anybody, Form } from "../api/Access.ts"
import { RequestRefused } from "../api/ApiErrors.ts"
import * as Callers from "../security/Caller.ts"
import { Unauthenticated } from "../security/Refused.ts"
import { ActionLog } from "./ActionLog.ts"

/** What part of a request an error of a schema is about. */
const parts: Readonly<Record<string, string>> = {
  Params: "the path",
  Query: "the query",
  Headers: "the headers",
  Body: "the body",
  Payload: "the body"
}

/** Says in a sentence why a request does not have the form that the API describes. */
export const form: Layer.Layer<Form> = HttpApiMiddleware.layerSchemaErrorTransform(Form, ({ cause, kind }) =>
  Effect.fail(
    new RequestRefused({
      message: `${parts[kind] ?? "the request"} cannot be used: ${cause.message.replaceAll(/\s*\n\s*/g, " ")}`
    })
  )
)

/** Methods of operations that change nothing. */
const reading: ReadonlySet<string> = new Set(["GET", "HEAD", "OPTIONS"])

const tagOf = (error: unknown): string =>
  Predicate.hasProperty(error, "_tag") && typeof error._tag === "string" ? error._tag : "Unknown"

/** Operations that need credentials, so that nobody may ask for them without. What changes something is noted. */
export const access: Layer.Layer<Access, never, ActionLog> = Layer.effect(
  Access,
  Effect.map(ActionLog, ({ record }) => {
    const around: Access["Service"]["token"] = Effect.fnUntraced(function* (handling, { endpoint, group }) {
      const { _tag, address } = yield* Callers.current
      if (_tag === "Nobody") return yield* new Unauthenticated({ message: "This needs credentials." })
      if (reading.has(endpoint.method)) return yield* handling
      const { infoHash = "" } = yield* HttpRouter.params
      const operation = `${group.identifier}.${endpoint.identifier}`
      const note = (failure?: string) =>
        record({ caller: _tag, address, operation, infoHash: InfoHash.fromHex(infoHash), failure })
      return yield* handling.pipe(
        Effect.tap(() => note()),
        Effect.tapError((error) => note(tagOf(error)))
      )
    })
    return { token: around, session: around }
  })
)

/** Operations that anybody may ask for. */
export const anybody: Layer.Layer<Anybody> = Layer.succeed(Anybody, (handling) =>
  Effect.flatMap(Callers.current, (found) => Effect.provideService(handling, Callers.Caller, found))
)
