/**
 * Fetches a small file over HTTP whole. The response comes from a stranger, so it is bounded in time, bytes and
 * redirects, and `Hops.ts` judges each place that it leads to. `HttpBody.ts` unpacks what the server compressed. A file
 * that is itself compressed comes out unpacked.
 */
import * as Data from "effect/Data"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as HttpClient from "effect/http/HttpClient"
import type * as HttpClientError from "effect/http/HttpClientError"
import * as Version from "../base/Version.ts"
import * as Hops from "./Hops.ts"
import * as HttpBody from "./HttpBody.ts"
import * as SocketErrno from "./SocketErrno.ts"

/** How long resolving the name, redirects and reading the whole body may take together. */
export const defaultTimeout: Duration.Input = "60 seconds"

/** The file was not fetched. `why` can stand after the URL and a colon. */
export class HttpFileError extends Data.TaggedError("HttpFileError")<{
  readonly why: string
  /** Where the server redirects to, if that is the reason. */
  readonly elsewhere?: Hops.Elsewhere | undefined
}> {
  override get message() {
    return this.why
  }
}

/** How a file is fetched. */
export interface Options {
  /** The most bytes of the file, unpacked and as received. */
  readonly maxBytes: number
  /** Why it is not accepted if it is longer. */
  readonly tooLong: string
  /** Why nothing may be sent to an address for the URL of a hop; see `Hops.Options`. */
  readonly whyNot: Hops.Options["whyNot"]
  /** Default `defaultTimeout`. */
  readonly timeout?: Duration.Input | undefined
}

const fail = (why: string) => new HttpFileError({ why })

/** Fetches the file at `url`. */
export const get = Effect.fnUntraced(
  function* (client: HttpClient.HttpClient, url: URL, options: Options) {
    const response = yield* Hops.get(client, url, {
      headers: { "user-agent": Version.userAgent },
      whyNot: options.whyNot
    }).pipe(
      Effect.mapError((error) =>
        error._tag === "HopRefused"
          ? new HttpFileError({ why: error.why, elsewhere: error.elsewhere })
          : fail(describe(error))
      )
    )
    if (response.status < 200 || response.status > 299) return yield* fail(`HTTP status ${response.status}`)
    const { maxBytes, tooLong } = options
    return yield* HttpBody.read(response, { maxBytes, tooLong, fail, describe })
  },
  (effect, _client, _url, { timeout = defaultTimeout }) =>
    effect.pipe(
      Effect.scoped,
      Effect.timeoutOrElse({
        duration: timeout,
        orElse: () => Effect.fail(fail(`no answer within ${Duration.toSeconds(timeout)} seconds`))
      })
    )
)

/** Describes why a request failed: the end of a sentence, without the URL. */
export const describe = (error: HttpClientError.HttpClientError): string => {
  const causes = Hops.causesOf(error)
  const code = causes.map(SocketErrno.codeOf).findLast((code) => code !== undefined)
  if (code?.startsWith("HPE_") === true) return "the server's answer is not HTTP"
  if (code !== undefined) return SocketErrno.why(code)
  const cause = causes.at(-1)
  return cause instanceof Error ? cause.message : "the server's answer is malformed"
}
