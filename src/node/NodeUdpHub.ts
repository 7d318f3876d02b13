/**
 * The UDP hub on Node. The system's ports are loaded with the first socket: a download whose peers are given needs none.
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { UdpPort } from "../network/Transport.ts"
import * as UdpHub from "../network/UdpHub.ts"

const ports = Layer.succeed(
  UdpPort,
  UdpPort.of({
    bind: (options) =>
      Effect.flatMap(
        Effect.promise(() => import("../network/provider/node/NodeUdpPort.ts")),
        (NodeUdpPort) => NodeUdpPort.bind(options)
      )
  })
)

/** A hub over the ports of the system. */
export const layerPort = (options?: UdpHub.UdpHubOptions): Layer.Layer<UdpHub.UdpHub> =>
  Layer.provide(UdpHub.layer(options), ports)

/** A hub over any free ports of the system. */
export const layer: Layer.Layer<UdpHub.UdpHub> = layerPort()
