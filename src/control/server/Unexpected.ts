/**
 * What a request gets if its handler has a defect, which is a bug of the service: 500. The cause is logged, and not sent.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as HttpRouter from "effect/http/HttpRouter"
import * as HttpServerRespondable from "effect/http/HttpServerRespondable"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import type * as Types from "effect/Types"

const answer = HttpServerResponse.jsonUnsafe(
  { _tag: "piecewise/ServiceFailed", message: "The service failed to handle this request. Its log says why." },
  { status: 500 }
)

/** Effect ends some handlers with an answer, or with what has one, such as a body that is too long. */
const isAnswer = (defect: unknown): boolean =>
  HttpServerResponse.isHttpServerResponse(defect) || HttpServerRespondable.isRespondable(defect)

/** Whether a cause has a defect that is no answer. */
const isBug = ({ reasons }: Cause.Cause<unknown>): boolean =>
  reasons.some((reason) => Cause.isDieReason(reason) && !isAnswer(reason.defect))

/** Logs defects of handlers, and answers instead of them. */
export const layer = HttpRouter.middleware(
  (handling: Effect.Effect<HttpServerResponse.HttpServerResponse, Types.unhandled>) =>
    Effect.catchCause(handling, (cause) =>
      isBug(cause)
        ? Effect.as(Effect.logError("A request could not be handled.", cause), answer)
        : Effect.failCause(cause)
    ),
  { global: true }
)
