// oidc-provider on loopback, over HTTPS: people by its own pages for development, a workload by client credentials.
// node provider.mjs CERTIFICATE KEY [LIBRARY]; says its address on the first line, and ends when stdin does.
import { readFileSync } from 'node:fs';
import { createServer } from 'node:https';
import { generateKeyPairSync } from 'node:crypto';
import { pathToFileURL } from 'node:url';

const [, , certificate, key, library] = process.argv;
const { Provider } = await import(pathToFileURL(library));
const algorithms = { ES256: ['ec', { namedCurve: 'P-256' }], EdDSA: ['ed25519', {}], RS256: ['rsa', { modulusLength: 2048 }] };
const keys = Object.entries(algorithms).map(([alg, [kind, options]]) => ({
  ...generateKeyPairSync(kind, options).privateKey.export({ format: 'jwk' }), kid: alg, alg, use: 'sig',
}));
const native = (alg) => ({
  client_id: `hermetic-${alg}`, application_type: 'native', token_endpoint_auth_method: 'none', id_token_signed_response_alg: alg,
  redirect_uris: ['http://127.0.0.1/callback'], grant_types: ['authorization_code'], response_types: ['code'],
});

const server = createServer({ cert: readFileSync(certificate), key: readFileSync(key) });
server.listen(0, '127.0.0.1', () => {
  const issuer = `https://localhost:${server.address().port}`;
  const provider = new Provider(issuer, {
    clients: [...Object.keys(algorithms).map(native), {
      client_id: 'ci', client_secret: 'a secret of the test', grant_types: ['client_credentials'], redirect_uris: [], response_types: [],
    }],
    jwks: { keys },
    cookies: { keys: ['a key of the test'] },
    enabledJWA: { idTokenSigningAlgValues: Object.keys(algorithms) },
    findAccount: (_context, id) => ({ accountId: id, claims: async () => ({ sub: id }) }),
    features: {
      devInteractions: { enabled: true },
      clientCredentials: { enabled: true },
      resourceIndicators: {
        enabled: true,
        defaultResource: (_context, client) => (client.clientId === 'ci' ? 'urn:hermetic' : undefined),
        getResourceServerInfo: () => ({
          scope: '', audience: 'hermetic-work', accessTokenTTL: 300, accessTokenFormat: 'jwt', jwt: { sign: { alg: 'ES256' } },
        }),
      },
    },
    ttl: { IdToken: 300 },
  });
  server.on('request', provider.callback());
  console.log(issuer);
});
process.stdin.on('end', () => process.exit(0)).resume();
