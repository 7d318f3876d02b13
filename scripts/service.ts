/**
 * A service of a demonstration: downloads a file of its folder, which another process seeds at 4 MB/s.
 */
import { readFile } from "node:fs/promises"
import * as path from "node:path"
import * as NodeHttpClient from "@effect/platform-node/NodeHttpClient"
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import type { InfoHash } from "../src/base/InfoHash.ts"
import * as PeerAddress from "../src/base/PeerAddress.ts"
import * as ControlClient from "../src/control/ControlClient.ts"
import * as ServiceFolder from "../src/node/ServiceFolder.ts"
import * as Demonstration from "./demonstration.ts"

const { say } = Demonstration

/** The rate of the seeder. */
const bytesPerSecond = 4_000_000

/** Calls the API of a service. */
const call = <A, E extends { readonly message: string }>(
  options: ControlClient.Options,
  use: (client: ControlClient.ControlClient["Service"]) => Effect.Effect<A, E>
): Promise<A> =>
  Effect.runPromise(Effect.provide(Effect.flatMap(ControlClient.make(options), use), NodeHttpClient.layerUndici))

/** A service that downloads a file. */
export interface Service {
  readonly infoHash: InfoHash
  /** The URL of the file, which needs no token. */
  readonly link: string
  /** How much of the file it has: 1 is everything. */
  readonly progress: () => Promise<{ readonly share: number }>
}

/** Makes a torrent of a file in the folder, seeds it, starts a service, and lets that download it. Says what it does. */
export const start = async (self: Demonstration.Demonstration, name: string): Promise<Service> => {
  const { folder, piecewise, serve } = self
  await piecewise(["create", name, "-o", "film.torrent", "--piece-length", "1MiB"])
  const seeder = await Demonstration.seed(self, "film.torrent", ".", bytesPerSecond)
  say(`\nA seeder in another process serves it at ${seeder.address}, at 4 MB/s.`)

  say("\n$ piecewise serve downloads --state state --http 127.0.0.1:0")
  const place = ["serve", "downloads", "--state", "state", "--http", "127.0.0.1:0"]
  const { line } = await serve("src/node/main.ts", [...place, "--log-level", "warning"])
  say(line)
  const state = path.join(folder, "state")
  const service = await Effect.runPromise(ServiceFolder.find(state))
  const token = await Effect.runPromise(ServiceFolder.readToken(state))
  if (service === undefined || token === undefined) throw new Error("the service has not said where it is")
  const access = { url: service.url, token }

  const torrent = await readFile(path.join(folder, "film.torrent"))
  const { below, infoHash } = await call(access, ({ torrents }) =>
    Effect.gen(function* () {
      const { infoHash } = yield* torrents.addFile({ query: {}, payload: Uint8Array.from(torrent) })
      const params = { infoHash }
      // It is in the queue for a moment.
      const adding = torrents.addPeers({ params, payload: { addresses: [PeerAddress.parse(seeder.address)!] } })
      yield* Effect.retry(adding, { times: 100, schedule: Schedule.spaced("50 millis") })
      const { path } = yield* torrents.link({ params })
      return { below: path, infoHash }
    })
  )
  const progress = () =>
    call(access, ({ torrents }) =>
      Effect.map(torrents.get({ params: { infoHash } }), ({ torrent }) => {
        const { missingBytes, totalBytes } = torrent.progress!
        return { share: 1 - missingBytes / totalBytes }
      })
    )
  return { infoHash, link: new URL(`${below}${name}`, service.url).href, progress }
}
