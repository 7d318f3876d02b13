/**
 * The entry point for serving a session over HTTP: `piecewise/control/server`. It has the routes of the API, and what
 * decides who may use them, for any HTTP server of Effect. The service as it runs on Node is in `piecewise/control/node`.
 */

export * as Attempts from "../security/Attempts.ts"
export * as Credentials from "../security/Credentials.ts"
export * as Listening from "../security/Listening.ts"
export * as Security from "../security/Security.ts"
export * as Tickets from "../security/Tickets.ts"
export * as TransmissionRpc from "../transmission/TransmissionRpc.ts"
export * as ActionLog from "./ActionLog.ts"
export * as ControlServer from "./ControlServer.ts"
export * as ServiceBackup from "./ServiceBackup.ts"
export * as ServiceFacts from "./ServiceFacts.ts"
