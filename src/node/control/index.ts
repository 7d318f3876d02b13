/**
 * The entry point for a service on Node: `piecewise/control/node`. It is what `piecewise serve` runs.
 */

export * as NodeCredentials from "../../control/security/provider/node/NodeCredentials.ts"
export * as NodeHttpLimits from "../../control/security/provider/node/NodeHttpLimits.ts"
export * as PasswordHash from "../../control/security/provider/node/PasswordHash.ts"
export * as NodeService from "../NodeService.ts"
export * as ServiceConfig from "../ServiceConfig.ts"
export * as ServiceFolder from "../ServiceFolder.ts"
