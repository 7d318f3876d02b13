/**
 * The UDP hub on Node. Loads the system's UDP ports with the first socket: a download that only uses given peers needs
 * none.
 */
import type * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { UdpPort } from "../network/Transport.ts"
import * as UdpHub from "../network/UdpHub.ts"
import * as Modules from "./Modules.ts"

const ports = Layer.succeed(
  UdpPort,
  UdpPort.of({
    bind: (options) =>
      Effect.flatMap(
        Modules.load(() => import("../network/provider/node/NodeUdpPort.ts")),
        (NodeUdpPort) => NodeUdpPort.bind(options)
      )
  })
)

/** A hub over the system's UDP ports. */
export const layerPort = (options?: UdpHub.UdpHubOptions): Layer.Layer<UdpHub.UdpHub> =>
  Layer.provide(UdpHub.layer(options), ports)

/** A hub that uses any free UDP ports. */
export const layer: Layer.Layer<UdpHub.UdpHub> = layerPort()

/** A hub as `UdpHub.layerConfig` makes it. */
export const layerConfig = (
  config?: Config.Wrap<UdpHub.UdpHubOptions>
): Layer.Layer<UdpHub.UdpHub, Config.ConfigError> => Layer.provide(UdpHub.layerConfig(config), ports)
