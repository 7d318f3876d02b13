/**
 * The events of a session as server-sent events (WHATWG HTML, section 9.2), for at most 512 clients at once.
 *
 * A comment comes at once, so that a client sees the head of the answer before anything happens, and another one every
 * 15 seconds, so that proxies keep the connection and the service notices clients that are gone. What waits for a slow
 * client is bounded by the session (`Session.eventsSince`).
 */
import * as Effect from "effect/Effect"
import * as Sse from "effect/encoding/Sse"
import * as HttpEffect from "effect/http/HttpEffect"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import type { Session } from "../../session/Session.ts"
import type { EventsMissed, SessionEvent } from "../../session/SessionStatus.ts"
import { TooManyListeners } from "../api/ApiErrors.ts"
import { ServerEvent } from "../api/EventModel.ts"

/** Clients that follow the events at once. Each takes a connection, and up to 8,192 events that wait for it. */
export const maxListeners = 512

/** How often a client receives a comment. Proxies close connections that are silent for a minute. */
const commentEvery = "15 seconds"

/** What a client that is refused should wait (seconds). */
const retryAfter = 5

const comment = ":\n\n"

const encode = Schema.encodeSync(ServerEvent)

/** The texts of events, each of which every client receives. */
const texts = new WeakMap<object, string>()

const textOf = (item: SessionEvent | EventsMissed): string => {
  const known = texts.get(item)
  if (known !== undefined) return known
  const { id } = item
  const event = encode("infoHash" in item ? { id, event: "torrent", data: item } : { id, event: "missed", data: item })
  const text = Sse.encoder.write({ _tag: "Event", ...event })
  texts.set(item, text)
  return text
}

const headers = {
  "cache-control": "no-cache",
  // nginx would wait for more.
  "x-accel-buffering": "no"
}

const tooMany = new TooManyListeners({
  message: `${maxListeners} clients follow the events already, the most that are accepted.`
})

/** Makes what answers a client that follows the events from an event on. */
export const make = ({ eventsSince }: Pick<Session["Service"], "eventsSince">) => {
  let listeners = 0

  /** Counts a client until its answer ends. */
  const listening = Effect.acquireRelease(
    Effect.suspend(() => {
      if (listeners < maxListeners) return Effect.sync(() => void listeners++)
      return Effect.andThen(
        HttpEffect.appendPreResponseHandler((_, response) =>
          Effect.succeed(HttpServerResponse.setHeader(response, "retry-after", String(retryAfter)))
        ),
        Effect.fail(tooMany)
      )
    }),
    () => Effect.sync(() => void listeners--)
  )

  return (lastEventId: string | undefined) =>
    Effect.map(listening, () => {
      const comments = Stream.map(Stream.tick(commentEvery), () => comment)
      const events = Stream.map(eventsSince(lastEventId), textOf)
      return HttpServerResponse.stream(Stream.encodeText(Stream.merge(comments, events)), {
        contentType: "text/event-stream",
        headers
      })
    })
}
