import java.util.List;
import java.util.Map;
import java.util.Set;
import javax.security.auth.callback.Callback;
import javax.security.auth.callback.UnsupportedCallbackException;
import javax.security.auth.login.AppConfigurationEntry;
import org.apache.kafka.common.security.auth.AuthenticateCallbackHandler;
import org.apache.kafka.common.security.auth.SaslExtensionsCallback;
import org.apache.kafka.common.security.oauthbearer.OAuthBearerToken;
import org.apache.kafka.common.security.oauthbearer.OAuthBearerTokenCallback;

/** Gives the token that the JAAS entry has for its password, as an application does that has its own way to get one. */
public class TokenHandler implements AuthenticateCallbackHandler {
  private static final long LIFETIME_MS = 600_000;
  private Map<String, ?> options = Map.of();

  @Override
  public void configure(Map<String, ?> configs, String mechanism, List<AppConfigurationEntry> entries) {
    options = entries.get(0).getOptions();
  }

  @Override
  public void handle(Callback[] callbacks) throws UnsupportedCallbackException {
    for (Callback callback : callbacks) {
      if (callback instanceof OAuthBearerTokenCallback wanted)
        wanted.token(
            new Token((String) options.get("password"), (String) options.get("username"), System.currentTimeMillis()));
      else if (!(callback instanceof SaslExtensionsCallback)) throw new UnsupportedCallbackException(callback);
    }
  }

  @Override
  public void close() {}

  private record Token(String value, String principalName, Long startTimeMs) implements OAuthBearerToken {
    @Override
    public Set<String> scope() {
      return Set.of();
    }

    @Override
    public long lifetimeMs() {
      return startTimeMs + LIFETIME_MS;
    }
  }
}
