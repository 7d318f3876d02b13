/**
 * Fetches a torrent file over HTTP. The user typed the URL, so it may lead anywhere. The response comes from a
 * stranger, so it is bounded in time, bytes and redirects, and may not redirect to a less public place.
 */
import * as Effect from "effect/Effect"
import type * as HttpClient from "effect/http/HttpClient"
import type * as HttpClientError from "effect/http/HttpClientError"
import * as Stream from "effect/Stream"
import * as Bytes from "../base/Bytes.ts"
import * as Version from "../base/Version.ts"
import * as Hops from "../network/Hops.ts"
import * as SocketErrno from "../network/SocketErrno.ts"
import * as NodeLookup from "../node/NodeLookup.ts"
import * as NodeRoutedHttp from "../node/NodeRoutedHttp.ts"
import { CommandFailed } from "./CommandFailed.ts"

/** For resolving the name, redirects and reading the whole body. */
const timeoutSeconds = 60

/** Fetches `url`. Fails if the body is longer than `maxBytes`, with `tooLong` as the reason. */
export const fetchTorrent = (
  url: string,
  maxBytes: number,
  tooLong: string,
  client: HttpClient.HttpClient = NodeRoutedHttp.make(NodeLookup.system)
): Effect.Effect<Uint8Array, CommandFailed> => {
  const fail = (why: string) => new CommandFailed({ why: `${url}: ${why}` })
  const receive = Effect.gen(function* () {
    const target = URL.parse(url)
    if (target === null) return yield* fail("this is not a URL")
    const headers = { "user-agent": Version.userAgent }
    const response = yield* Hops.get(client, target, { headers, whyNot: () => undefined }).pipe(
      Effect.mapError((error) => fail(error._tag === "HopRefused" ? error.why : describe(error)))
    )
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
    Effect.timeoutOrElse({
      duration: `${timeoutSeconds} seconds`,
      orElse: () => Effect.fail(fail(`no answer within ${timeoutSeconds} seconds`))
    })
  )
}

const describe = (error: HttpClientError.HttpClientError): string => {
  const causes = Hops.causesOf(error)
  const code = causes.map(SocketErrno.codeOf).findLast((code) => code !== undefined)
  if (code?.startsWith("HPE_") === true) return "the server's answer is not HTTP"
  if (code !== undefined) return SocketErrno.why(code)
  const cause = causes.at(-1)
  return cause instanceof Error ? cause.message : "the server's answer is malformed"
}
