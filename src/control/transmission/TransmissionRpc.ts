/**
 * The Transmission RPC (version 17) over a session, so that programs which speak it can use a service:
 * `transmission-remote`, `transmission-rpc`, and the many that were made for Transmission. docs/transmission.md says what
 * they find and what they do not.
 *
 * One route takes a method and its arguments in JSON, and answers with a `result` that is `success` or a sentence, always
 * with status 200. A request must have the id that an answer with status 409 has told: a page elsewhere, whose requests a
 * browser would send with the user's credentials, cannot read that answer nor send the header (CSRF). Who may talk to the
 * service at all is decided before (`Security`).
 */
import * as ByteSize from "effect/ByteSize"
import * as Effect from "effect/Effect"
import * as HttpClient from "effect/http/HttpClient"
import * as HttpIncomingMessage from "effect/http/HttpIncomingMessage"
import * as HttpRouter from "effect/http/HttpRouter"
import * as HttpServerRequest from "effect/http/HttpServerRequest"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Layer from "effect/Layer"
import * as MetadataLimit from "../../base/MetadataLimit.ts"
import * as Monotonic from "../../base/Monotonic.ts"
import { Engine } from "../../engine/Engine.ts"
import { Session } from "../../session/Session.ts"
import * as Secret from "../security/Secret.ts"
import { ServiceFacts } from "../server/ServiceFacts.ts"
import * as RpcArguments from "./RpcArguments.ts"
import * as RpcRefused from "./RpcRefused.ts"
import type * as RpcRun from "./RpcRun.ts"
import * as SessionFields from "./SessionFields.ts"
import * as SessionMethods from "./SessionMethods.ts"
import * as TorrentAdding from "./TorrentAdding.ts"
import * as TorrentIds from "./TorrentIds.ts"
import * as TorrentMethods from "./TorrentMethods.ts"
import * as TorrentSetting from "./TorrentSetting.ts"

export type { Options } from "./SessionFields.ts"

/** The path of the route. */
export const path = "/transmission/rpc"

/** The header with the id of the run. */
export const header = "x-transmission-session-id"

/** The most bytes of a request: the longest metainfo in base64, and 1 MiB for everything else. */
export const maxBytes = Math.ceil(MetadataLimit.defaultMaxBytes / 3) * 4 + 1_048_576

type Method = (run: RpcRun.RpcRun, given: unknown) => RpcRun.Answer

const refuse =
  (message: string): Method =>
  () =>
    Effect.fail(RpcRefused.because(message))

const methods: ReadonlyMap<string, Method> = new Map<string, Method>([
  ["torrent-get", TorrentMethods.get],
  ["torrent-set", TorrentSetting.set],
  ["torrent-add", TorrentAdding.add],
  ["torrent-remove", TorrentMethods.remove],
  ["torrent-start", TorrentMethods.start],
  ["torrent-start-now", TorrentMethods.startNow],
  ["torrent-stop", TorrentMethods.stop],
  ["torrent-verify", TorrentMethods.verify],
  ["torrent-reannounce", refuse("trackers are asked when they allow it, and not before")],
  ["torrent-set-location", TorrentSetting.setLocation],
  ["torrent-rename-path", TorrentMethods.renamePath],
  ["queue-move-top", TorrentMethods.moveInQueue("top")],
  ["queue-move-up", TorrentMethods.moveInQueue("up")],
  ["queue-move-down", TorrentMethods.moveInQueue("down")],
  ["queue-move-bottom", TorrentMethods.moveInQueue("bottom")],
  ["session-get", SessionMethods.get],
  ["session-set", SessionMethods.set],
  ["session-stats", SessionMethods.statistics],
  ["session-close", SessionMethods.close],
  ["free-space", SessionMethods.freeSpace],
  ["blocklist-update", refuse("there is no blocklist that could be updated")],
  ["port-test", refuse("whether the port can be reached is not tested, because that needs a server elsewhere")],
  ["group-get", () => SessionMethods.groups],
  ["group-set", refuse("there are no bandwidth groups here")]
])

/** The route. */
export const layer = (
  options: SessionFields.Options = {}
): Layer.Layer<never, never, HttpRouter.HttpRouter | HttpClient.HttpClient | Session | Engine | ServiceFacts> =>
  Layer.effectDiscard(
    Effect.gen(function* () {
      const run: RpcRun.RpcRun = {
        session: yield* Session,
        engine: yield* Engine,
        facts: yield* ServiceFacts,
        http: yield* HttpClient.HttpClient,
        options,
        scope: yield* Effect.scope,
        sessionId: Secret.make(),
        startedAt: yield* Monotonic.now,
        ids: TorrentIds.make(),
        choices: SessionFields.noChoices
      }
      const router = yield* HttpRouter.HttpRouter
      yield* router.add("*", path, respond(run))
    })
  )

/** Answers a request. Whatever is asked without the id of the run, the id is all that is told. */
const respond = (run: RpcRun.RpcRun) =>
  Effect.gen(function* () {
    const request = yield* HttpServerRequest.HttpServerRequest
    if (!Secret.equals(request.headers[header] ?? "", run.sessionId)) return conflict(run.sessionId)
    if (request.method !== "POST") return notAllowed
    const text = yield* Effect.option(
      Effect.provideService(request.text, HttpIncomingMessage.MaxBodySize, ByteSize.bytes(maxBytes))
    )
    if (text._tag === "None") return tooLong
    return HttpServerResponse.jsonUnsafe(yield* answer(run, text.value))
  })

const conflict = (sessionId: string): HttpServerResponse.HttpServerResponse =>
  HttpServerResponse.html(
    `<h1>409: Conflict</h1><p>Send the request again with this header, which keeps pages elsewhere from sending one (CSRF):</p><p><code>X-Transmission-Session-Id: ${sessionId}</code></p>`
  ).pipe(
    HttpServerResponse.setStatus(409),
    HttpServerResponse.setHeaders({ "X-Transmission-Session-Id": sessionId, "cache-control": "no-store" })
  )

const notAllowed = HttpServerResponse.text("requests are sent with POST\n", { status: 405, headers: { allow: "POST" } })

const tooLong = HttpServerResponse.text("the request is too long, or was cut\n", { status: 413 })

const readRequest = RpcArguments.reader(RpcArguments.Request)

const parse = (text: string): Effect.Effect<RpcArguments.Request, RpcRefused.RpcRefused> =>
  Effect.flatMap(
    Effect.try({ try: () => JSON.parse(text) as unknown, catch: () => RpcRefused.because("the request is not JSON") }),
    readRequest
  )

const answer = Effect.fnUntraced(function* (run: RpcRun.RpcRun, text: string) {
  let tag: number | undefined
  const done = Effect.gen(function* () {
    const request = yield* parse(text)
    if (typeof request.tag === "number") tag = request.tag
    const method = methods.get(request.method)
    if (method === undefined) return yield* RpcRefused.because("method name not recognized")
    return yield* method(run, request.arguments)
  })
  return yield* Effect.match(done, {
    onSuccess: (found) => ({ result: "success", arguments: found, ...(tag !== undefined && { tag }) }),
    onFailure: ({ message }) => ({ result: message, arguments: {}, ...(tag !== undefined && { tag }) })
  })
})
