/**
 * The files of torrents, while they are downloaded as well: for programs with credentials below
 * `/v1/torrents/INFO_HASH/content/`, and for media players below `/v1/stream/TICKET/`. `TorrentHttp` serves them.
 */
import * as Effect from "effect/Effect"
import * as HttpRouter from "effect/http/HttpRouter"
import * as HttpServerRequest from "effect/http/HttpServerRequest"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as InfoHash from "../../base/InfoHash.ts"
import { Session } from "../../session/Session.ts"
import type { SessionState } from "../../session/SessionStatus.ts"
import { NotOpened } from "../../session/SessionTorrent.ts"
import * as TorrentHttp from "../../web/TorrentHttp.ts"
import { RequestRefused, TorrentNotFound, TorrentNotReady } from "../api/ApiErrors.ts"
import { Caller } from "../security/Caller.ts"
import { Tickets } from "../security/Tickets.ts"
import * as Failing from "./Failing.ts"
import * as NoRoute from "./NoRoute.ts"

const encode = {
  refused: Schema.encodeSync(Schema.toCodecJson(RequestRefused)),
  notFound: Schema.encodeSync(Schema.toCodecJson(TorrentNotFound)),
  notReady: Schema.encodeSync(Schema.toCodecJson(TorrentNotReady))
}

const notAnInfoHash = HttpServerResponse.jsonUnsafe(
  encode.refused(new RequestRefused({ message: "the path cannot be used: Expected an info hash before /content/" })),
  { status: 400 }
)

const refuse = (error: TorrentNotFound | TorrentNotReady) =>
  error._tag === "piecewise/TorrentNotFound"
    ? HttpServerResponse.jsonUnsafe(encode.notFound(error), { status: 404 })
    : HttpServerResponse.jsonUnsafe(encode.notReady(error), { status: 409 })

/** Why the files of a torrent cannot be read. Only those of a torrent in the engine can. */
const whyNot = (state: SessionState): string => {
  switch (state._tag) {
    case "Active":
      return "it has just become active: try again"
    case "Queued":
      return "it waits in the queue"
    case "Moving":
      return "its files are being moved"
    case "Paused":
      return "it is paused"
    case "Failed":
      return `it has failed: ${state.message}`
    case "GoalReached":
      return "it does not run any more, because it has reached its seeding goal"
    case "Removing":
      return "it is being removed"
  }
}

/** How often a torrent that was added or resumed a moment ago is looked for, until it is in the engine: for 2 seconds. */
const lookEvery = "50 millis"
const looks = 40

/** A torrent in the engine. One in the queue may have been added a moment ago, and is waited for. */
const active = Effect.fnUntraced(function* (session: Session["Service"], infoHash: InfoHash.InfoHash) {
  const handle = yield* session.get(infoHash)
  const look = Effect.gen(function* () {
    const torrent = yield* handle.torrent
    if (Option.isSome(torrent)) return torrent.value
    return yield* Effect.fail((yield* handle.status).state)
  })
  return yield* look.pipe(
    Effect.retry({
      while: ({ _tag }) => _tag === "Queued",
      schedule: Schedule.spaced(lookEvery),
      times: looks
    }),
    Effect.mapError((error) =>
      error._tag === "piecewise/NotInSession" ? error : new NotOpened({ infoHash, why: whyNot(error) })
    )
  )
})

/**
 * What a browser that opens a film, a song or a picture by its URL may load: the page that it makes for it shows the same
 * URL. Other files keep what `SecurityHeaders.ts` says, or `TorrentHttp`.
 */
const mediaPolicy = [
  "default-src 'none'; media-src 'self'; img-src 'self'; style-src 'unsafe-inline'",
  "frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
].join("; ")

const withPolicy = (response: HttpServerResponse.HttpServerResponse) => {
  const { "content-security-policy": given, "content-type": type = "" } = response.headers
  const isMedia = given === undefined && /^(?:video|audio|image)\//.test(type)
  return isMedia ? HttpServerResponse.setHeader(response, "content-security-policy", mediaPolicy) : response
}

/** Serves the files of a torrent to a request whose URL is what follows the part that says which torrent it is. */
const serve = (session: Session["Service"], infoHash: InfoHash.InfoHash) =>
  active(session, infoHash).pipe(
    Effect.flatMap(TorrentHttp.respond),
    Effect.map(withPolicy),
    Effect.catch((error) => Effect.succeed(refuse(Failing.of(infoHash)(error))))
  )

/** Serves a request without the first `count` components of its path. */
const serveBelow = (session: Session["Service"], count: number, infoHash: InfoHash.InfoHash) =>
  Effect.flatMap(HttpServerRequest.HttpServerRequest, (request) => {
    const prefix = new RegExp(`^(?:/[^/?]*){${count}}`)
    const url = request.url.replace(prefix, "") || "/"
    return Effect.provideService(serve(session, infoHash), HttpServerRequest.HttpServerRequest, request.modify({ url }))
  })

/** Ends the links to a torrent when it is removed, so that they do not come back with it. */
const endingTickets = Layer.effectDiscard(
  Effect.gen(function* () {
    const session = yield* Session
    const tickets = yield* Tickets
    const ending = Stream.runForEach(session.eventsSince(), (item) =>
      item.event._tag === "Removed" && "infoHash" in item ? tickets.endOf(item.infoHash) : Effect.void
    )
    yield* Effect.forkScoped(ending, { startImmediately: true })
  })
)

const routes = HttpRouter.use((router) =>
  Effect.gen(function* () {
    const session = yield* Session
    yield* router.add(
      "GET",
      "/v1/torrents/:infoHash/content/*",
      Effect.flatMap(HttpRouter.params, ({ infoHash = "" }) => {
        const found = InfoHash.parse(infoHash)
        return found === undefined ? Effect.succeed(notAnInfoHash) : serveBelow(session, 4, found)
      })
    )
    yield* router.add(
      "GET",
      "/v1/stream/:ticket/*",
      Effect.flatMap(Caller, (caller) =>
        // The router reads `/v1/%73tream/` in the same way, which is no link for whoever decides about tickets.
        caller._tag === "Ticket" ? serveBelow(session, 3, caller.infoHash) : Effect.succeed(NoRoute.notFound)
      )
    )
  })
)

/** The routes. */
export const layer = Layer.merge(routes, endingTickets)
