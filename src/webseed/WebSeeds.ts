/**
 * Web seeds: servers that have the files of a torrent (BEP 19) or its pieces (BEP 17), as suppliers beside the peers.
 * Works over Effect's `HttpClient`, which the environment (a Node process, a page) provides.
 *
 * The torrent file names them, or a magnet link (`ws`), or the user. What a stranger named may lead only where
 * `Destination.whyNotWebSeed` allows; what the user named may lead anywhere. A private torrent may name web seeds too:
 * BEP 27 restricts where peers come from.
 */
import * as Effect from "effect/Effect"
import * as HttpClient from "effect/http/HttpClient"
import * as Layer from "effect/Layer"
import { SupplierSources } from "../assembly/SupplierSource.ts"
import * as WebSeedSource from "./WebSeedSource.ts"

/** Lets the torrents of an engine use their web seeds. */
export const layer: Layer.Layer<never, never, HttpClient.HttpClient> = Layer.effect(
  SupplierSources,
  Effect.map(HttpClient.HttpClient, (client) => [WebSeedSource.make(Effect.succeed(client))])
)
