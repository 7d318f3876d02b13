/**
 * The source of a torrent's web seeds, as suppliers beside its peers: which they are, how many are used at once, and
 * what is remembered of each.
 *
 * What a stranger named may lead only where `Destination.whyNotWebSeed` allows; what the user named may lead anywhere.
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import type * as HttpClient from "effect/http/HttpClient"
import type * as Scope from "effect/Scope"
import * as Semaphore from "effect/Semaphore"
import type { Assembly } from "../assembly/Assembly.ts"
import type { SupplierContext, SupplierSource } from "../assembly/SupplierSource.ts"
import * as Descriptors from "../base/Descriptors.ts"
import * as Destination from "../base/Destination.ts"
import * as SourceUrl from "../base/SourceUrl.ts"
import * as Places from "../connect/Places.ts"
import * as SeedFetch from "./SeedFetch.ts"
import * as SeedLanes from "./SeedLanes.ts"
import * as SeedPlaces from "./SeedPlaces.ts"
import type { SeedUrl } from "./SeedUrl.ts"
import * as WebSeed from "./WebSeed.ts"

/** Web seeds of a torrent that are used at once. A few fast ones are enough, and each has up to four connections. */
export const mostAtOnce = 8

/** Connections of a torrent at once. */
const mostOfTorrent = mostAtOnce * SeedLanes.most

/** Web seeds that are known of a torrent. Further ones take their turns while others rest. */
export const mostKnown = 100

/** The web seeds of a torrent, those of the user first, no URL twice. */
export const seedsOf = ({
  metainfo,
  webSeeds
}: Pick<SupplierContext, "metainfo" | "webSeeds">): ReadonlyArray<SeedUrl> => {
  if (webSeeds === false) return []
  const named: ReadonlyArray<readonly [SeedUrl["kind"], string]> = [
    ...webSeeds.filter((url) => !metainfo.httpSeeds.includes(url)).map((url) => ["files", url] as const),
    ...metainfo.webSeeds.map((url) => ["files", url] as const),
    ...metainfo.httpSeeds.map((url) => ["pieces", url] as const)
  ]
  const seeds = new Map<string, SeedUrl>()
  for (const [kind, text] of named) {
    const url = SourceUrl.parseWebSeed(text)
    if (url === undefined || seeds.size === mostKnown) continue
    const isTrusted = webSeeds.includes(text)
    if (!isTrusted && Destination.shown(url) !== "public") {
      // A stranger could use a service here that asks for them.
      url.username = ""
      url.password = ""
    }
    const key = `${kind} ${url.href}`
    if (!seeds.has(key)) seeds.set(key, { kind, url, isTrusted })
  }
  return [...seeds.values()]
}

const none: ReadonlySet<number> = new Set()

/** What is known of the web seeds of each torrent, by their kinds and URLs. A torrent keeps its assembly when it rests. */
const records = new WeakMap<Assembly, Map<string, WebSeed.Record>>()

const recordOf = (assembly: Assembly, { kind, url }: SeedUrl): WebSeed.Record => {
  const known = records.get(assembly) ?? new Map<string, WebSeed.Record>()
  records.set(assembly, known)
  const key = `${kind} ${url.href}`
  const record = known.get(key) ?? WebSeed.record(assembly)
  known.set(key, record)
  return record
}

/**
 * Makes the source of all web seeds. `client` is run for each connection to a seed, so that its client may keep it open
 * between requests. It has to close it with its scope, because another connection may then be made. All torrents together
 * have at most `most` connections, by default `SeedPlaces.mostTogether`.
 */
export const make = (
  client: Effect.Effect<HttpClient.HttpClient, never, Scope.Scope>,
  most = SeedPlaces.mostTogether
): SupplierSource => {
  const places = Places.make(most)
  return { mayHave: (torrent) => seedsOf(torrent).length > 0, supply: (context) => supply(client, places, context) }
}

const supply = Effect.fnUntraced(function* (
  client: Effect.Effect<HttpClient.HttpClient, never, Scope.Scope>,
  shared: Places.Places,
  context: SupplierContext
) {
  const seeds = seedsOf(context)
  if (seeds.length === 0) return
  const turns: WebSeed.Turns = { semaphore: yield* Semaphore.make(mostAtOnce), waiting: 0 }
  const places = SeedPlaces.make(shared, mostOfTorrent, yield* Clock.Clock)
  yield* Descriptors.register("connections", SeedPlaces.giveUp(shared))
  // Once for all seeds, because a torrent may have hundreds of thousands of files.
  const nameless = seeds.some(({ kind }) => kind === "files") ? SeedFetch.unreachable(context.metainfo.layout) : none
  const run = (seed: SeedUrl) =>
    WebSeed.run({
      client,
      context,
      seed,
      record: recordOf(context.assembly, seed),
      turns,
      places,
      unreachable: seed.kind === "files" ? nameless : none
    })
  yield* Effect.forEach(seeds, run, { concurrency: "unbounded", discard: true })
})
