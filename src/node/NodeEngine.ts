/**
 * The engine as it runs in production on Node: files on disk, TCP, hashing on the event loop, HTTP trackers.
 */
import * as Layer from "effect/Layer"
import * as TrackerSource from "../discovery/tracker/TrackerSource.ts"
import * as Engine from "../engine/Engine.ts"
import * as NodePieceHasher from "../hash/provider/node/NodePieceHasher.ts"
import * as TcpTransport from "../network/provider/node/TcpTransport.ts"
import * as FileResumeStore from "../resume/provider/node/FileResumeStore.ts"
import * as FileSystemStorage from "../storage/provider/node/FileSystemStorage.ts"
import * as NodeTracker from "./NodeTracker.ts"
import * as NodeUdpHub from "./NodeUdpHub.ts"

/** How the engine is set up on Node. */
export interface Options extends Engine.Config {
  /** The folder torrents are stored in; made when first written to. */
  readonly directory: string
  /** The folder that remembers which pieces are stored; default `.piecewise` in `directory`. */
  readonly resumeDirectory?: string | undefined
}

/** Everything an engine runs on, on Node. Provide it beside a layer of your own to swap one part. */
export const layerServices = (options: Options) =>
  Layer.mergeAll(
    FileSystemStorage.layer({ directory: options.directory }),
    FileResumeStore.layer({ directory: options.resumeDirectory ?? `${options.directory}/.piecewise` }),
    TcpTransport.layer,
    TrackerSource.layer.pipe(Layer.provideMerge(NodeTracker.layerHub()), Layer.provideMerge(NodeUdpHub.layer))
  ).pipe(Layer.provideMerge(NodePieceHasher.layer))

/** An engine that stores torrents in a folder, and the services it runs on. */
export const layer = (options: Options) => Layer.provideMerge(Engine.layer(options), layerServices(options))
