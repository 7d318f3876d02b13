/**
 * Fetches a torrent file over HTTP. A stranger's answer, so it is bounded in time, bytes and redirects.
 */
import * as NodeHttpClient from "@effect/platform-node/NodeHttpClient"
import * as Effect from "effect/Effect"
import * as HttpClient from "effect/http/HttpClient"
import type * as HttpClientError from "effect/http/HttpClientError"
import * as Stream from "effect/Stream"
import * as Bytes from "../base/Bytes.ts"
import * as SocketErrno from "../transport/SocketErrno.ts"
import { CommandFailed } from "./CommandFailed.ts"

/** From the name's resolution to the last byte, redirects included. */
const timeoutSeconds = 60

const maxRedirects = 5

/** Gets what is at `url`; `tooLong` ends the sentence about more than `maxBytes`. */
export const fetchTorrent = (
  url: string,
  maxBytes: number,
  tooLong: string
): Effect.Effect<Uint8Array, CommandFailed> => {
  const fail = (why: string) => new CommandFailed({ why: `${url}: ${why}` })
  const receive = Effect.gen(function* () {
    const client = HttpClient.withScope(HttpClient.followRedirects(yield* HttpClient.HttpClient, maxRedirects))
    const toFailure = Effect.mapError((error: HttpClientError.HttpClientError) => fail(describe(error)))
    const response = yield* toFailure(client.get(url))
    if (response.status < 200 || response.status > 299) return yield* fail(`HTTP status ${response.status}`)
    const chunks: Array<Uint8Array> = []
    let length = 0
    yield* response.stream.pipe(
      Stream.mapError((error) => fail(describe(error))),
      Stream.runForEach((chunk) => {
        length += chunk.length
        if (length > maxBytes) return Effect.fail(fail(tooLong))
        chunks.push(chunk)
        return Effect.void
      })
    )
    return Bytes.concat(chunks)
  })
  return receive.pipe(
    Effect.scoped,
    Effect.provide(NodeHttpClient.layerUndici),
    Effect.timeoutOrElse({
      duration: `${timeoutSeconds} seconds`,
      orElse: () => Effect.fail(fail(`no answer within ${timeoutSeconds} seconds`))
    })
  )
}

const describe = ({ reason }: HttpClientError.HttpClientError): string => {
  if (reason._tag === "InvalidUrlError") return "this is no URL"
  const cause = "cause" in reason ? reason.cause : undefined
  const code = SocketErrno.codeOf(cause) ?? (cause instanceof Error ? SocketErrno.codeOf(cause.cause) : undefined)
  if (code === undefined) return cause instanceof Error ? cause.message : "the server's answer makes no sense"
  return SocketErrno.why(code)
}
