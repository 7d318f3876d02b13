/**
 * The files of torrents, while they are downloaded as well: for programs with credentials below
 * `/v1/torrents/INFO_HASH/content/`, and for media players below `/v1/stream/TICKET/`. `TorrentHttp` serves them.
 */
import * as Effect from "effect/Effect"
import * as HttpRouter from "effect/http/HttpRouter"
import * as HttpServerRequest from "effect/http/HttpServerRequest"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as InfoHash from "../../base/InfoHash.ts"
import { Session } from "../../session/Session.ts"
import { NotOpened } from "../../session/SessionTorrent.ts"
import * as TorrentHttp from "../../web/TorrentHttp.ts"
import { TorrentNotFound, TorrentNotReady } from "../api/ApiErrors.ts"
import { Caller } from "../security/Caller.ts"
import * as Failing from "./Failing.ts"

const encode = {
  notFound: Schema.encodeSync(Schema.toCodecJson(TorrentNotFound)),
  notReady: Schema.encodeSync(Schema.toCodecJson(TorrentNotReady))
}

const refuse = (error: TorrentNotFound | TorrentNotReady) =>
  error._tag === "piecewise/TorrentNotFound"
    ? HttpServerResponse.jsonUnsafe(encode.notFound(error), { status: 404 })
    : HttpServerResponse.jsonUnsafe(encode.notReady(error), { status: 409 })

/** Only a torrent in the engine can be read. */
const inactive = (infoHash: InfoHash.InfoHash) => new NotOpened({ infoHash, why: "it is not active" })

/** Serves the files of a torrent to a request whose URL is what follows the part that says which torrent it is. */
const serve = (session: Session["Service"], infoHash: InfoHash.InfoHash) =>
  session.get(infoHash).pipe(
    Effect.flatMap(({ torrent }) => torrent),
    Effect.flatMap(Option.match({ onNone: () => Effect.fail(inactive(infoHash)), onSome: Effect.succeed })),
    Effect.flatMap(TorrentHttp.respond),
    Effect.catch((error) => Effect.succeed(refuse(Failing.of(infoHash)(error))))
  )

/** Serves a request without the first `count` components of its path. */
const serveBelow = (session: Session["Service"], count: number, infoHash: InfoHash.InfoHash) =>
  Effect.flatMap(HttpServerRequest.HttpServerRequest, (request) => {
    const prefix = new RegExp(`^(?:/[^/?]*){${count}}`)
    const url = request.url.replace(prefix, "") || "/"
    return Effect.provideService(serve(session, infoHash), HttpServerRequest.HttpServerRequest, request.modify({ url }))
  })

const notFound = HttpServerResponse.text("not found\n", { status: 404 })

/** The routes. */
export const layer = HttpRouter.use((router) =>
  Effect.gen(function* () {
    const session = yield* Session
    yield* router.add(
      "GET",
      "/v1/torrents/:infoHash/content/*",
      Effect.flatMap(HttpRouter.params, ({ infoHash = "" }) => {
        const found = InfoHash.parse(infoHash)
        return found === undefined ? Effect.succeed(notFound) : serveBelow(session, 4, found)
      })
    )
    yield* router.add(
      "GET",
      "/v1/stream/:ticket/*",
      Effect.flatMap(Caller, (caller) =>
        caller._tag === "Ticket" ? serveBelow(session, 3, caller.infoHash) : Effect.succeed(notFound)
      )
    )
  })
)
