/**
 * `HttpClient` over Node's own client that connects only where a request may go (`Hops.Route`). It checks each address
 * of a name before connecting to it, so a name cannot lead to an address that would be refused.
 *
 * With `make`, every request has its own connections. A connection made for the user's URL must not serve a stranger's.
 * With `makeKept`, the requests of one client share connections, each of which is judged again before it is used again.
 */
import * as Dns from "node:dns/promises"
import type * as Http from "node:http"
import type * as Https from "node:https"
import * as Net from "node:net"
import * as NodeHttpClient from "@effect/platform-node/NodeHttpClient"
import * as Effect from "effect/Effect"
import * as HttpClient from "effect/http/HttpClient"
import * as HttpClientError from "effect/http/HttpClientError"
import type * as HttpClientRequest from "effect/http/HttpClientRequest"
import * as Layer from "effect/Layer"
import * as Descriptors from "../base/Descriptors.ts"
import * as Destination from "../base/Destination.ts"
import * as Hops from "../network/Hops.ts"
import * as Offline from "../network/provider/node/Offline.ts"
import * as ChunkMemory from "./ChunkMemory.ts"
import type * as NodeLookup from "./NodeLookup.ts"

// An `import` would read every export of `node:http`, and that of `WebSocket` loads undici, which takes 15 ms. TLS takes
// 10 ms more, which a request without it should not wait for.
const { Agent: HttpAgent } = process.getBuiltinModule("node:http")

/** Makes the agent of one request. */
const makeAgent = (isSecure: boolean, options: Http.AgentOptions): Http.Agent => {
  if (!isSecure) return new HttpAgent(options)
  const { Agent: HttpsAgent } = process.getBuiltinModule("node:https")
  return new HttpsAgent(options)
}

/** Makes a client that resolves names with `lookup`, and connects from the local address `from` if it is given. */
export const make = (lookup: NodeLookup.NodeLookup, from?: string): HttpClient.HttpClient =>
  HttpClient.make((request, url, signal, fiber) => {
    const route = onThisMachine(fiber.getRef(Hops.Route))
    const refusal = refusalOf(route, url, request)
    if (refusal !== undefined) return refusal
    const local = from === undefined ? {} : { localAddress: from, family: Net.isIP(from) }
    const options = { ...local, lookup: lookupOn(route, lookup) }
    const agent = reporting(makeAgent(url.protocol === "https:", options), route)
    // The inner client does not know the scope that the response is read in.
    signal.addEventListener("abort", () => agent.destroy())
    return NodeHttpClient.makeNodeHttp.pipe(
      Effect.provideService(NodeHttpClient.HttpAgent, { http: agent, https: agent as Https.Agent }),
      Effect.flatMap((client) => client.execute(request)),
      Descriptors.retry
    )
  })

/** The same route, without what `PIECEWISE_OFFLINE` excludes. */
const onThisMachine = (route: Hops.Route): Hops.Route => ({
  ...route,
  whyNot: (address) => route.whyNot(address) ?? Offline.whyNot(address)
})

/** Fails if the URL has an address that the route forbids: Node does not call `lookup` for it. */
const refusalOf = (
  route: Hops.Route,
  url: URL,
  request: HttpClientRequest.HttpClientRequest
): Effect.Effect<never, HttpClientError.HttpClientError> | undefined => {
  const host = Destination.hostOf(url)
  const why = Net.isIP(host) === 0 ? undefined : route.whyNot(host)
  if (why === undefined) return undefined
  const cause = new Hops.RouteForbidden({ why })
  return Effect.fail(
    new HttpClientError.HttpClientError({ reason: new HttpClientError.TransportError({ request, cause }) })
  )
}

/** How long a connection that nobody uses is kept (milliseconds). Servers usually close theirs after 5 to 75 s. */
const keptFor = 15_000

/**
 * Makes a client like that of `make` that keeps its connections for later requests to the same server, until the scope
 * closes. Use one for each stranger. A kept connection is used again only if the route of the request allows its
 * address.
 */
export const makeKept = Effect.fnUntraced(function* (lookup: NodeLookup.NodeLookup, from?: string) {
  const local = from === undefined ? {} : { localAddress: from, family: Net.isIP(from) }
  const agents = new Map<boolean, Http.Agent>()
  const routes = new WeakMap<object, Hops.Route>()
  const agentOf = (isSecure: boolean): Http.Agent => {
    const known = agents.get(isSecure)
    if (known !== undefined) return known
    const agent = judgingReuse(makeAgent(isSecure, { ...local, keepAlive: true, timeout: keptFor }), routes)
    agents.set(isSecure, agent)
    return agent
  }
  yield* Effect.addFinalizer(() =>
    Effect.sync(() => {
      for (const agent of agents.values()) agent.destroy()
    })
  )
  return HttpClient.make((request, url, signal, fiber) => {
    const route = onThisMachine(fiber.getRef(Hops.Route))
    const refusal = refusalOf(route, url, request)
    if (refusal !== undefined) return refusal
    const agent = agentOf(url.protocol === "https:")
    const isLent = fiber.getRef(Hops.LentChunks)
    /** The agent as this request sees it: a connection that it opens is judged by the route of this request. */
    const view: Http.Agent = Object.create(agent)
    const { addRequest } = agent as unknown as { readonly addRequest: AddRequest }
    Object.assign(view, {
      addRequest: (asked: Http.ClientRequest, options: object) => {
        routes.set(asked, route)
        // The inner client does not know the scope that the response is read in.
        signal.addEventListener("abort", () => asked.destroy())
        addRequest.call(agent, asked, { ...options, lookup: lookupOn(route, lookup), [routeOf]: route })
      }
    })
    return NodeHttpClient.makeNodeHttp.pipe(
      Effect.provideService(NodeHttpClient.HttpAgent, { http: view, https: view as Https.Agent }),
      Effect.flatMap((client) => client.execute(request)),
      Effect.map((response) => (isLent ? ChunkMemory.freeing(response) : response)),
      Descriptors.retry
    )
  })
})

/** How Node gives a request to its agent, which its types leave out. */
type AddRequest = (request: Http.ClientRequest, options: object) => void

/** The key of the route among the options of a connection. */
const routeOf = Symbol("route")

/** Makes an agent report each address that a request uses, and refuse kept connections that its route forbids. */
const judgingReuse = (agent: Http.Agent, routes: WeakMap<object, Hops.Route>): Http.Agent => {
  const connect = agent.createConnection.bind(agent)
  agent.createConnection = (options, callback) => {
    const socket = readingToBuffer(connect, options, callback)
    const route = (options as { readonly [routeOf]?: Hops.Route })[routeOf]
    if (route !== undefined && socket instanceof Net.Socket) reportTo(route, socket)
    return socket
  }
  const reuse = agent.reuseSocket.bind(agent)
  agent.reuseSocket = (socket, request) => {
    reuse(socket, request)
    const { remoteAddress } = socket as Net.Socket
    const route = routes.get(request)
    if (route === undefined || remoteAddress === undefined) return
    const why = route.whyNot(remoteAddress)
    if (why === undefined) route.reached(remoteAddress)
    // Nothing of it was sent yet.
    else request.destroy(new Hops.RouteForbidden({ why }))
  }
  return agent
}

/** What all kept connections read to, with TLS and without. What is in it is handled before the next read. */
let readBuffer: Uint8Array<ArrayBuffer> | undefined

/**
 * Opens a connection that reads to one buffer. By default Node makes a new one of 64 KiB for each read, although its
 * parser of HTTP copies every part of a body to fresh memory, which a test holds. TLS reads to it what it deciphered.
 */
const readingToBuffer = (
  connect: Http.Agent["createConnection"],
  options: Parameters<Http.Agent["createConnection"]>[0],
  callback: Parameters<Http.Agent["createConnection"]>[1]
): ReturnType<Http.Agent["createConnection"]> => {
  readBuffer ??= Buffer.allocUnsafeSlow(65_536)
  const onread: Net.OnReadOpts = {
    buffer: readBuffer,
    callback: (length, buffer) => {
      // The parser looks at nothing else than this event.
      socket?.emit("data", buffer.subarray(0, length))
      return true
    }
  }
  const socket = connect({ ...options, onread } as typeof options, callback)
  return socket
}

/** Provides the client of `make`. */
export const layer = (lookup: NodeLookup.NodeLookup, from?: string): Layer.Layer<HttpClient.HttpClient> =>
  Layer.sync(HttpClient.HttpClient, () => make(lookup, from))

/** Resolves names, and leaves out addresses that the route forbids. */
const lookupOn =
  (route: Hops.Route, lookup: NodeLookup.NodeLookup): Net.LookupFunction =>
  (host, { all, family, hints }, done) => {
    const answer = (found: ReadonlyArray<NodeLookup.Found>): void => {
      const refusals = found.map(({ address }) => route.whyNot(address))
      const allowed = found.filter((_, index) => refusals[index] === undefined)
      const [first] = allowed
      if (first === undefined) {
        const why = refusals.find((refusal) => refusal !== undefined)
        done(why === undefined ? notFound(host) : new Hops.RouteForbidden({ why }), [])
      } else if (all === true)
        done(
          null,
          allowed.map((entry) => ({ ...entry }))
        )
      else done(null, first.address, first.family)
    }
    lookup(host, { family: familyOf(family), hints }).then(answer, (error: NodeJS.ErrnoException) => done(error, []))
  }

const familyOf = (family: number | "IPv4" | "IPv6" | undefined): number =>
  family === "IPv4" ? 4 : family === "IPv6" ? 6 : (family ?? 0)

const notFound = (host: string): NodeJS.ErrnoException =>
  Object.assign(new Error(`${host} has no address`), { code: Dns.NOTFOUND })

/** Makes an agent report each address that it connects to. */
const reporting = (agent: Http.Agent, route: Hops.Route): Http.Agent => {
  const connect = agent.createConnection.bind(agent)
  agent.createConnection = (options, callback) => {
    const socket = connect(options, callback)
    if (socket instanceof Net.Socket) reportTo(route, socket)
    return socket
  }
  return agent
}

const reportTo = (route: Hops.Route, socket: Net.Socket): void => {
  socket.once("connect", () => {
    if (socket.remoteAddress !== undefined) route.reached(socket.remoteAddress)
  })
}
