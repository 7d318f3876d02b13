import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as HttpClient from "effect/http/HttpClient"
import * as HttpClientError from "effect/http/HttpClientError"
import * as HttpClientResponse from "effect/http/HttpClientResponse"
import * as Destination from "../../src/base/Destination.ts"
import * as Hops from "../../src/network/Hops.ts"

/** A redirect of each URL to the next; the last one is answered. */
type Chain = ReadonlyArray<string>

/**
 * A client that resolves names by a table, in which a name may have other addresses each time, and respects the route
 * as a real one must. `connected` holds the addresses it connected to.
 */
const makeClient = (chain: Chain, names: Readonly<Record<string, ReadonlyArray<ReadonlyArray<string>>>>) => {
  const connected: Array<string> = []
  const looked = new Map<string, number>()
  const client = HttpClient.make((request, url, _, fiber) => {
    const route = fiber.getRef(Hops.Route)
    const host = Destination.hostOf(url)
    const time = looked.get(host) ?? 0
    looked.set(host, time + 1)
    const addresses = names[host]?.[time] ?? names[host]?.at(-1) ?? [host]
    const allowed = addresses.find((address) => route.whyNot(address) === undefined)
    if (allowed === undefined) {
      const cause = new Error("lookup failed", {
        cause: new Hops.RouteForbidden({ why: route.whyNot(addresses[0]!)! })
      })
      const reason = new HttpClientError.TransportError({ request, cause })
      return Effect.fail(new HttpClientError.HttpClientError({ reason }))
    }
    route.reached(allowed)
    connected.push(`${allowed} ${url.pathname}`)
    const location = chain[chain.indexOf(url.href) + 1]
    const init = location === undefined ? { status: 200 } : { status: 302, headers: { location } }
    return Effect.succeed(HttpClientResponse.fromWeb(request, new Response(null, init)))
  })
  return { client, connected }
}

/** Follows a chain as for a URL that a torrent names, or that the user typed. */
const follow = Effect.fnUntraced(function* (
  who: "torrent" | "user",
  chain: Chain,
  names: Parameters<typeof makeClient>[1] = {}
) {
  const { client, connected } = makeClient(chain, names)
  const whyNot =
    who === "user" ? () => undefined : (url: URL, address: string) => Destination.whyNotTracker(url, address)
  const result = yield* Hops.get(client, new URL(chain[0]!), { whyNot }).pipe(
    Effect.match({
      onFailure: (error) => (error._tag === "HopRefused" ? error.why : "request failed"),
      onSuccess: ({ status }) => status
    }),
    Effect.scoped
  )
  return { result, connected }
})

const local = "it redirects into the local network, to"

describe("Hops", () => {
  for (const who of ["torrent", "user"] as const) {
    it.effect(`fault 24: a public URL of the ${who} redirects to no name that leads into the local network`, () =>
      Effect.gen(function* () {
        for (const address of ["127.0.0.1", "10.0.0.1", "::1", "0.0.0.0", "169.254.169.254", "fd00:ec2::254"]) {
          const names = { "a.example": [["9.0.0.1"]], "b.example": [[address]] }

          const { connected, result } = yield* follow(
            who,
            ["http://a.example/announce", "http://b.example/announce"],
            names
          )

          assert.strictEqual(result, `${local} b.example`)
          assert.deepStrictEqual(connected, ["9.0.0.1 /announce"], address)
        }
      })
    )

    it.effect(`fault 24: a name of the ${who} that leads elsewhere the second time does not evade that`, () =>
      Effect.gen(function* () {
        const names = { "a.example": [["9.0.0.1"], ["127.0.0.1"]] }

        const { connected, result } = yield* follow(
          who,
          ["http://a.example/announce", "http://a.example/announce2"],
          names
        )

        assert.strictEqual(result, `${local} a.example`)
        assert.deepStrictEqual(connected, ["9.0.0.1 /announce"])
      })
    )

    it.effect(`fault 24: every hop of the ${who} counts, not only the first`, () =>
      Effect.gen(function* () {
        const names = { "a.example": [["9.0.0.1"]], "b.example": [["9.0.0.2"]], "c.example": [["9.0.0.3", "::1"]] }
        const chain = ["http://a.example/", "http://b.example/", "http://c.example/", "http://127.0.0.1/announce"]

        const { connected, result } = yield* follow(who, chain, names)

        assert.strictEqual(result, `${local} 127.0.0.1`)
        assert.deepStrictEqual(connected, ["9.0.0.1 /", "9.0.0.2 /", "9.0.0.3 /"])
      })
    )

    it.effect(`connects for the ${who} to those addresses of a name that are allowed`, () =>
      Effect.gen(function* () {
        const names = { "a.example": [["9.0.0.1"]], "b.example": [["127.0.0.1", "10.0.0.1", "9.0.0.2"]] }

        const { connected, result } = yield* follow(who, ["http://a.example/", "https://b.example/x"], names)

        assert.strictEqual(result, 200)
        assert.deepStrictEqual(connected, ["9.0.0.1 /", "9.0.0.2 /x"])
      })
    )

    it.effect(`lets a name of the ${who} that leads into the local network redirect within it`, () =>
      Effect.gen(function* () {
        const names = { "a.example": [["10.0.0.1"]] }
        const chain = ["http://a.example/announce", "https://a.example/announce", "http://10.0.0.2/announce"]

        const { connected, result } = yield* follow(who, chain, names)

        assert.strictEqual(result, 200)
        assert.deepStrictEqual(connected, ["10.0.0.1 /announce", "10.0.0.1 /announce", "10.0.0.2 /announce"])
      })
    )
  }

  it.effect("allows a URL that the user typed anywhere, and its redirects", () =>
    Effect.gen(function* () {
      for (const host of ["127.0.0.1", "[::1]", "localhost", "10.0.0.1", "0.0.0.0", "nas.lan"]) {
        const chain = [`http://${host}:8080/any?path`, `http://${host}:9090/other`]

        const { connected, result } = yield* follow("user", chain, { localhost: [["::1"]], "nas.lan": [["10.0.0.2"]] })

        assert.strictEqual(result, 200, host)
        assert.strictEqual(connected.length, 2, host)
      }
    })
  )

  it.effect("fault 91: says which server of a chain redirects to another scheme", () =>
    Effect.gen(function* () {
      const link = "magnet:?xt=urn:btih:0"
      const names = { localhost: [["127.0.0.1"]], "a.example": [["9.0.0.1"]], "b.example": [["10.0.0.1"]] }
      const chains: ReadonlyArray<readonly [Chain, Hops.Elsewhere["from"]]> = [
        [["http://localhost/"], "loopback"],
        [["http://b.example/"], "private"],
        [["http://localhost/", "http://b.example/", "http://a.example/"], "public"]
      ]
      for (const [chain, from] of chains) {
        const { client } = makeClient([...chain, link], names)

        const error = yield* Effect.flip(
          Effect.scoped(Hops.get(client, new URL(chain[0]!), { whyNot: () => undefined }))
        )

        assert.deepStrictEqual(error._tag === "HopRefused" && error.elsewhere, { url: link, from })
      }
    })
  )

  it.effect("fault 24: a torrent's name that leads to this machine is used for announces only", () =>
    Effect.gen(function* () {
      const names = { "a.example": [["127.0.0.1"]], localhost: [["127.0.0.1"]] }

      const any = yield* follow("torrent", ["http://a.example/x"], names)
      const named = yield* follow("torrent", ["http://localhost/x"], names)
      const announce = yield* follow("torrent", ["http://a.example/announce/KEY"], names)

      for (const { connected, result } of [any, named]) {
        assert.match(String(result), /^a tracker on this machine must have/)
        assert.deepStrictEqual(connected, [])
      }
      assert.deepStrictEqual(announce, { result: 200, connected: ["127.0.0.1 /announce/KEY"] })
    })
  )
})
