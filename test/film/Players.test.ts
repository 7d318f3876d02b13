/**
 * Players of films, while a service downloads them: ffprobe and ffmpeg, and Chromium, which opens the link of a film, and
 * pages that show it.
 */
import { execFile } from "node:child_process"
import { createServer } from "node:http"
import { promisify } from "node:util"
import { NodeHttpServer } from "@effect/platform-node"
import { assert, it, layer } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as HttpServer from "effect/http/HttpServer"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Film from "../../scripts/film.ts"
import * as Chromium from "../browser/chromium.ts"
import * as Cinema from "./cinema.ts"

const { CI } = process.env
const hasFfmpeg = (await Film.isPossible()) || CI === "true"
const hasChromium = Chromium.program !== undefined || CI === "true"

/** What a program writes to its standard output. */
const run = (program: string, ...args: ReadonlyArray<string>) =>
  Effect.promise((signal) => promisify(execFile)(program, args, { signal })).pipe(Effect.map(({ stdout }) => stdout))

/**
 * Plays the video of a page, seeks to three quarters of it, and plays on. Resolves with its length, its size, and where
 * it was after each step, or with the code of its error.
 */
const watch = `(async () => {
  const pause = () => new Promise((resolve) => setTimeout(resolve, 20))
  const video = document.querySelector("video")
  const until = async (isDone) => {
    while (!isDone() && video.error === null) await pause()
  }
  await until(() => video.readyState >= 1)
  if (video.error !== null) return { error: video.error.code }
  video.muted = true
  await video.play()
  await until(() => video.currentTime > 0.2)
  const played = video.currentTime
  const seeked = new Promise((resolve) => video.addEventListener("seeked", resolve, { once: true }))
  video.currentTime = video.duration * 0.75
  await seeked
  const sought = video.currentTime
  await until(() => video.currentTime > sought + 0.2)
  const { currentTime, duration, videoWidth: width, videoHeight: height } = video
  return { duration, width, height, played, sought, currentTime, error: video.error?.code ?? null }
})()`

interface Watched {
  readonly duration?: number
  readonly width?: number
  readonly height?: number
  readonly played?: number
  readonly sought?: number
  readonly currentTime?: number
  readonly error: number | null
}

/** Opens a page, and watches its video. */
const watchAt = Effect.fnUntraced(function* (browser: Chromium.Browser, url: string) {
  const tab = yield* browser.open(url)
  // The empty page comes first.
  const isThere = tab.evaluate(`location.href !== "about:blank" && document.querySelector("video") !== null`)
  yield* Effect.repeat(Effect.delay(isThere, "50 millis"), { until: (found) => found === true })
  return (yield* Effect.raceFirst(tab.evaluate(watch), browser.ended)) as Watched
})

const assertWatched = ({ currentTime, duration, error, height, played, sought, width }: Watched) => {
  assert.deepStrictEqual([error, width, height], [null, 640, 360])
  assert.approximately(duration!, Cinema.seconds, 0.2)
  assert.isAbove(played!, 0.2)
  assert.approximately(sought!, 0.75 * Cinema.seconds, 0.2)
  assert.isAbove(currentTime!, sought!)
}

/** A site whose page is set later: the page needs the link of the service, which needs the origin of the page. */
const site = Effect.gen(function* () {
  let html = ""
  const server = yield* NodeHttpServer.make(createServer, { host: "127.0.0.1", port: 0 })
  yield* server.serve(Effect.sync(() => HttpServerResponse.text(html, { contentType: "text/html" })))
  const origin = HttpServer.formatAddress(server.address)
  return {
    origin,
    show: (body: string) => {
      html = `<!doctype html><meta charset="utf-8"><link rel="icon" href="data:,">${body}`
    }
  }
})

const describe = hasFfmpeg
  ? layer(Cinema.TestFilm.layer, { timeout: "60 seconds", excludeTestServices: true })
  : undefined

if (describe === undefined) it.skip("players of films: ffmpeg is not installed", () => {})

describe?.("a film that is downloaded", (it) => {
  it.effect(
    "is read by ffprobe, and two seconds from its middle are decoded by ffmpeg, before it is complete",
    () =>
      Effect.gen(function* () {
        const { isComplete, link } = yield* Cinema.open()

        const shown = yield* run(
          "ffprobe",
          "-v",
          "error",
          "-show_entries",
          "format=duration:stream=codec_name",
          "-of",
          "json",
          link
        )
        const at = String(Cinema.seconds / 2)
        const decoded = yield* run(
          "ffmpeg",
          "-v",
          "error",
          "-ss",
          at,
          "-i",
          link,
          "-t",
          "2",
          "-map",
          "0:v",
          "-f",
          "framecrc",
          "-"
        )
        const complete = yield* isComplete

        const { format, streams } = JSON.parse(shown)
        assert.approximately(Number(format.duration), Cinema.seconds, 0.2)
        assert.deepStrictEqual(
          streams.map(({ codec_name }: { readonly codec_name: string }) => codec_name),
          ["h264", "aac"]
        )
        assert.strictEqual(decoded.split("\n").filter((line) => /^\d/.test(line)).length, 50)
        assert.isFalse(complete)
      }),
    60_000
  )

  it.effect.skipIf(!hasChromium)(
    "is shown by Chromium at its link, which seeks in it",
    () =>
      Effect.gen(function* () {
        const { isComplete, link } = yield* Cinema.open()

        const watched = yield* watchAt(yield* Chromium.make, link)
        const complete = yield* isComplete

        assertWatched(watched)
        assert.isFalse(complete)
      }),
    60_000
  )

  it.effect.skipIf(!hasChromium)(
    "is shown in a page elsewhere if its origin is allowed and the video asks as it",
    () =>
      Effect.gen(function* () {
        const { origin, show } = yield* site
        const { link } = yield* Cinema.open({ allowedOrigins: [origin] })
        const browser = yield* Chromium.make

        show(`<video src="${link}" crossorigin="anonymous"></video>`)
        const allowed = yield* watchAt(browser, origin)
        show(`<video src="${link}"></video>`)
        const plain = yield* watchAt(browser, origin)

        assertWatched(allowed)
        // The source is not supported: the service has answered 403.
        assert.strictEqual(plain.error, 4)
      }),
    60_000
  )
})
