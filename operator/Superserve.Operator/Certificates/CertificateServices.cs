using Superserve.Operator.Configuration;

namespace Superserve.Operator.Certificates;

/// <summary>Puts this folder's parts together.</summary>
public static class CertificateServices
{
    /// <summary>
    /// Adds <see cref="ServingCertificates"/>, what fills it, and <see cref="StandInKey"/>; and, where the certificates are the
    /// operator's own, <see cref="CaBundleController"/> and <see cref="AuditCertificate"/>, for the leader to run.
    /// </summary>
    public static IServiceCollection AddCertificates(this IServiceCollection services, OperatorOptions options)
    {
        services.AddSingleton<ServingCertificates>();
        if (options.CertificateDirectory is null)
        {
            services.AddSingleton<OwnCertificates>();
            services.AddHostedService(provider => provider.GetRequiredService<OwnCertificates>());
            services.AddSingleton<CaBundleController>();
            if (options.AuditAddress is not null) services.AddSingleton<AuditCertificate>();
        }
        else services.AddHostedService<MountedCertificates>();

        services.AddSingleton<StandInKey>();
        return services.AddHostedService(provider => provider.GetRequiredService<StandInKey>());
    }
}
