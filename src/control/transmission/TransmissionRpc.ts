/**
 * The Transmission RPC (version 17) over a session, so that programs which speak it can use a service:
 * `transmission-remote`, `transmission-rpc`, and the many that were made for Transmission. docs/transmission.md says what
 * they find and what they do not.
 *
 * One route takes a method and its arguments in JSON, and answers with a `result` that is `success` or a sentence, always
 * with status 200. A request must have the id that an answer with status 409 contains. A page of another site, whose requests
 * a browser would send with the user's credentials, can neither read that answer nor send the header (CSRF). Who may talk to the
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
import * as Option from "effect/Option"
import * as InfoHash from "../../base/InfoHash.ts"
import * as MetadataLimit from "../../base/MetadataLimit.ts"
import * as Monotonic from "../../base/Monotonic.ts"
import { Engine } from "../../engine/Engine.ts"
import { Session } from "../../session/Session.ts"
import * as Callers from "../security/Caller.ts"
import * as Secret from "../security/Secret.ts"
import { ActionLog } from "../server/ActionLog.ts"
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
): Layer.Layer<
  never,
  never,
  HttpRouter.HttpRouter | HttpClient.HttpClient | Session | Engine | ServiceFacts | ActionLog
> =>
  Layer.effectDiscard(
    Effect.gen(function* () {
      const run: RpcRun.RpcRun = {
        session: yield* Session,
        engine: yield* Engine,
        facts: yield* ServiceFacts,
        http: yield* HttpClient.HttpClient,
        actions: yield* ActionLog,
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

/** Answers a request. One without the id of the run gets that id, and nothing else. */
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

/** Methods that change nothing. */
const reading: ReadonlySet<string> = new Set(["torrent-get", "session-get", "session-stats", "free-space", "group-get"])

const readSelection = RpcArguments.reader(RpcArguments.Selection)

/** Calls a method, and notes who did that if it changes something. */
const call = Effect.fnUntraced(function* (run: RpcRun.RpcRun, name: string, given: unknown) {
  const method = methods.get(name)
  if (method === undefined) return yield* RpcRefused.because("method name not recognized")
  if (reading.has(name)) return yield* method(run, given)
  // Before the method, because a torrent that it removes has no number afterwards.
  const asked = yield* Effect.option(readSelection(given))
  const before = Option.isSome(asked) ? TorrentIds.only(run.ids, asked.value.ids) : undefined
  const { _tag: caller, address } = yield* Callers.current
  const note = (hex: string | undefined, failure?: string) =>
    run.actions.record({
      caller,
      address,
      operation: `transmission.${name}`,
      infoHash: hex === undefined ? undefined : InfoHash.fromHex(hex),
      failure
    })
  return yield* method(run, given).pipe(
    Effect.tap((found) => note(before ?? TorrentAdding.addedIn(found))),
    Effect.tapError(({ _tag }) => note(before, _tag))
  )
})

const answer = Effect.fnUntraced(function* (run: RpcRun.RpcRun, text: string) {
  let tag: number | undefined
  const done = Effect.gen(function* () {
    const request = yield* parse(text)
    if (typeof request.tag === "number") tag = request.tag
    return yield* call(run, request.method, request.arguments)
  })
  return yield* Effect.match(done, {
    onSuccess: (found) => ({ result: "success", arguments: found, ...(tag !== undefined && { tag }) }),
    onFailure: ({ message }) => ({ result: message, arguments: {}, ...(tag !== undefined && { tag }) })
  })
})
