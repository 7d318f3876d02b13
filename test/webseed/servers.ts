/**
 * A server of the files of a torrent in memory, honest or hostile, as an `HttpClient`.
 */
import * as Effect from "effect/Effect"
import * as HttpClient from "effect/http/HttpClient"
import * as HttpClientError from "effect/http/HttpClientError"
import * as HttpClientResponse from "effect/http/HttpClientResponse"
import * as Stream from "effect/Stream"
import * as FileLayout from "../../src/metainfo/FileLayout.ts"
import type { KnownTorrent } from "../../src/testing/KnownTorrent.ts"

/** What is asked for. */
export interface Asked {
  readonly url: URL
  readonly headers: Readonly<Record<string, string | undefined>>
  /** The first and the last byte, if a range is asked for. */
  readonly range: readonly [first: number, last: number] | undefined
  /** How many requests there were before. */
  readonly number: number
  /** How many other bodies are being sent. */
  readonly others: number
}

/** What is answered. */
export interface Answer {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  readonly body: Uint8Array
  /** Whether the body goes on without end. */
  readonly isEndless?: boolean
  /** Milliseconds until the head is sent. */
  readonly delay?: number
  /** How fast the body is sent; absent: at once. */
  readonly bytesPerSecond?: number
  /** After how many bytes the connection breaks. */
  readonly breaksAfter?: number
}

/** A server, and what it was asked. */
export interface Server {
  readonly client: HttpClient.HttpClient
  readonly asked: Array<Asked>
  /** The paths and ranges that were asked for. */
  readonly log: () => ReadonlyArray<string>
  /** Bytes of bodies that were read by the client. */
  bytes: number
  /** The most bodies that were being sent at once. */
  most: number
}

const parseRange = (text: string | undefined): Asked["range"] => {
  const [, first, last] = /^bytes=(\d+)-(\d+)$/.exec(text ?? "") ?? []
  return first === undefined ? undefined : [Number(first), Number(last)]
}

/** Answers with a file as RFC 9110 says. */
export const serveFile = (file: Uint8Array, { range }: Asked): Answer => {
  if (range === undefined) return { status: 200, headers: { "content-length": `${file.length}` }, body: file }
  const [first, last] = [range[0], Math.min(range[1], file.length - 1)]
  if (first >= file.length) return { status: 416, headers: {}, body: new Uint8Array() }
  const body = file.subarray(first, last + 1)
  const headers = { "content-length": `${body.length}`, "content-range": `bytes ${first}-${last}/${file.length}` }
  return { status: 206, headers, body }
}

/** The same without ranges. */
export const serveWhole = (file: Uint8Array, asked: Asked): Answer => serveFile(file, { ...asked, range: undefined })

const missing: Answer = { status: 404, headers: {}, body: new Uint8Array() }

/** The file of a torrent at the path of a URL, below any folder. */
export const fileAt = ({ fileContent, metainfo }: KnownTorrent, url: URL): Uint8Array | undefined => {
  const path = decodeURIComponent(url.pathname)
  const { layout } = metainfo
  const file = [...FileLayout.indices(layout)].find((index) =>
    path.endsWith(`/${FileLayout.pathOf(layout, index).join("/")}`)
  )
  return file === undefined ? undefined : fileContent(file)
}

/** Serves a torrent. `answer` may answer something else than a file of it. */
export const make = (
  known: KnownTorrent,
  answer: (asked: Asked, file: Uint8Array | undefined) => Answer = (asked, file) =>
    file === undefined ? missing : serveFile(file, asked)
): Server => {
  let others = 0
  const server: Server = {
    asked: [],
    bytes: 0,
    most: 0,
    log: () => server.asked.map(({ range, url }) => `${url.pathname} ${range?.join("-") ?? "whole"}`),
    client: HttpClient.make((request, url) =>
      Effect.gen(function* () {
        const { range } = request.headers
        const asked: Asked = {
          url,
          headers: request.headers,
          range: parseRange(range),
          number: server.asked.length,
          others
        }
        server.asked.push(asked)
        const given = answer(asked, fileAt(known, url))
        if (given.delay !== undefined) yield* Effect.sleep(given.delay)
        const { headers, status } = given
        const response = HttpClientResponse.fromWeb(request, new Response(null, { status, headers: { ...headers } }))
        const stream = Stream.suspend(() => {
          server.most = Math.max(server.most, ++others)
          return bodyOf(given, request)
        }).pipe(
          Stream.tap((chunk) => Effect.sync(() => (server.bytes += chunk.length))),
          Stream.ensuring(Effect.sync(() => others--))
        )
        return Object.defineProperty(response, "stream", { value: stream })
      })
    )
  }
  return server
}

const chunkLength = 16_384

/** A body in chunks, one a second if it is slow. */
const bodyOf = (answer: Answer, request: HttpClientResponse.HttpClientResponse["request"]) => {
  const { body, breaksAfter, bytesPerSecond, isEndless } = answer
  const length = bytesPerSecond ?? chunkLength
  const broken = new HttpClientError.HttpClientError({
    reason: new HttpClientError.TransportError({ request, cause: Object.assign(new Error(), { code: "ECONNRESET" }) })
  })
  const next = (at: number) =>
    Effect.gen(function* () {
      if (breaksAfter !== undefined && at >= breaksAfter) return yield* broken
      if (at >= body.length && isEndless !== true) return undefined
      if (bytesPerSecond !== undefined) yield* Effect.sleep("1 second")
      const chunk = at < body.length ? body.subarray(at, at + length) : new Uint8Array(length)
      return [chunk, at + chunk.length] as const
    })
  return Stream.unfold(0, next)
}
