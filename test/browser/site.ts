/** The web site of the page: serves it under several origins, passes it its task, and receives its report. */
import * as Http from "node:http"
import * as Path from "node:path"
import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import * as Data from "effect/Data"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as HttpServerRequest from "effect/http/HttpServerRequest"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as NetAddress from "effect/net/NetAddress"
import * as Vite from "vite"
import * as Chromium from "./chromium.ts"
import type { Report, Step, Task, Tasks } from "./tasks.ts"

/** How long a page may take, including the start of the browser. It usually takes a few seconds. */
const visitTimeout = "25 seconds"

/** `page.ts` and its dependencies as one script. Nothing is written to disk. */
const bundle = Effect.promise(async () => {
  const built = await Vite.build({
    configFile: false,
    root: import.meta.dirname,
    logLevel: "warn",
    build: {
      write: false,
      minify: false,
      target: "esnext",
      lib: { entry: Path.join(import.meta.dirname, "page.ts"), formats: ["es"], fileName: "page" }
    }
  })
  const outputs = [built].flat().flatMap((result) => ("output" in result ? result.output : []))
  const [script, ...others] = outputs.filter((output) => output.type === "chunk")
  if (script === undefined || others.length > 0) throw new Error(`Vite made ${outputs.length} files, not one script`)
  return script.code
})

/** The host names of the site, each a different origin: the daemon's host with another port, and another host. */
export const hosts = ["127.0.0.1", "localhost"] as const

export type Host = (typeof hosts)[number]

/** The page failed, or reported nothing. */
export class PageFailed extends Data.TaggedError("PageFailed")<{ readonly why: string }> {
  override get message() {
    return this.why
  }
}

interface Visit {
  readonly task: Task
  readonly onStep: (step: Step) => Effect.Effect<void>
  readonly reported: Deferred.Deferred<Report>
}

/** A running site on loopback. Only one page at a time visits it. */
export interface Site {
  readonly port: number
  /** Opens the page at `http://HOST:PORT` and waits for its result. `onStep` runs while the page waits. */
  readonly visit: <K extends keyof Tasks>(
    host: Host,
    task: { readonly name: K; readonly needs: Tasks[K]["needs"] },
    onStep?: (step: Step) => Effect.Effect<void>
  ) => Effect.Effect<Tasks[K]["knows"], PageFailed | Chromium.BrowserEnded>
}

const html =
  '<!doctype html><meta charset="utf-8"><link rel="icon" href="data:,"><script type="module" src="/page.js"></script>'

/** Starts a site and its browser, until the scope closes. */
export const make = Effect.gen(function* () {
  const script = yield* bundle
  let current: Visit | undefined

  const respond = Effect.fnUntraced(function* (visit: Visit) {
    const request = yield* HttpServerRequest.HttpServerRequest
    switch (`${request.method} ${request.url}`) {
      case "GET /":
        return HttpServerResponse.text(html, { contentType: "text/html" })
      case "GET /page.js":
        return HttpServerResponse.text(script, { contentType: "text/javascript" })
      case "GET /task":
        return HttpServerResponse.jsonUnsafe(visit.task)
      case "POST /step":
        yield* visit.onStep((yield* request.text) as Step)
        return HttpServerResponse.empty()
      case "POST /report":
        yield* Deferred.succeed(visit.reported, (yield* request.json) as unknown as Report)
        return HttpServerResponse.empty()
    }
    return HttpServerResponse.empty({ status: 404 })
  })

  const server = yield* NodeHttpServer.make(Http.createServer, { host: "127.0.0.1", port: 0 })
  yield* server.serve(
    Effect.suspend(() =>
      current === undefined ? Effect.succeed(HttpServerResponse.empty({ status: 404 })) : respond(current)
    )
  )
  if (!NetAddress.isInetAddress(server.address)) return yield* Effect.die("a site without a port")
  const { port } = server.address
  // Acquired after the server, so that it is released first: the server waits until its connections have closed.
  const browser = yield* Chromium.make

  const visit = Effect.fnUntraced(function* (host: Host, task: Task, onStep: Visit["onStep"]) {
    const reported = yield* Deferred.make<Report>()
    current = { task, onStep, reported }
    yield* browser.open(`http://${host}:${port}/`)
    const report = yield* Effect.raceFirst(Deferred.await(reported), browser.ended).pipe(
      Effect.timeoutOrElse({
        duration: visitTimeout,
        orElse: () =>
          Effect.flatMap(browser.console, (said) =>
            Effect.fail(new PageFailed({ why: `the page sent no report; its console says: ${said}` }))
          )
      })
    )
    return "knows" in report ? report.knows : yield* new PageFailed({ why: report.failure })
  })

  const site: Site = {
    port,
    visit: <K extends keyof Tasks>(
      host: Host,
      task: { readonly name: K; readonly needs: Tasks[K]["needs"] },
      onStep: Visit["onStep"] = () => Effect.void
    ) => visit(host, task as Task, onStep) as Effect.Effect<Tasks[K]["knows"], PageFailed | Chromium.BrowserEnded>
  }
  return site
})
